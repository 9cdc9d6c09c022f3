"""Every image: it runs without root, and has what it needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from components._frame.pipeline import load_stages
from scripts import podman
from tests.builders.paths import ROOT

pytestmark = pytest.mark.containers
STAGES = load_stages(ROOT / "dvc.yaml")
MORE = {"data": ["ingest"], "train": ["drift", "predict", "promote", "register"]}


def imports(image: str) -> str:
    names = [stage.name for stage in STAGES if stage.image == image] + MORE[image]
    return "import " + ", ".join(f"components.{name}" for name in names)


# A program per image, run without network.
PROGRAMS = {
    "data": imports("data"),
    "train": imports("train"),
    "airflow": "import asyncpg, psycopg2, dags.nightly_retraining as n; assert n.dag.task_ids",
    "mlflow": "import boto3, psycopg2, mlflow.server",
}


@pytest.mark.parametrize("target", sorted(PROGRAMS))
def test_it_runs_as_its_own_user_and_has_its_libraries(target: str, images: str) -> None:
    name = f"localhost/longtail-{target}:latest"
    assert podman.podman("image", "inspect", "--format", "{{.User}}", name) == "10001"
    program = f"import os; assert os.getuid() == 10001; {PROGRAMS[target]}; print('yes')"
    argv = ("run", "--rm", "--network=none", name, "python", "-c", program)
    assert podman.podman(*argv).splitlines()[-1] == "yes"


def test_the_airflow_image_has_git_and_dvc(images: str) -> None:
    argv = ("run", "--rm", "--network=none", "localhost/longtail-airflow:latest")
    assert podman.podman(*argv, "git", "--version").startswith("git version")
    assert podman.podman(*argv, "python", "-m", "dvc", "--version").startswith("3.")


def test_every_target_of_the_dockerfile_is_tested() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    targets = {line.split()[-1] for line in text.splitlines() if line.startswith("FROM ")}
    assert targets == {"base", *PROGRAMS}


def test_the_bill_of_materials_has_what_the_image_has(images: str) -> None:
    argv = [sys.executable, str(ROOT / "scripts" / "sbom.py"), "data"]
    subprocess.run(argv, check=True)
    made = json.loads((ROOT / "build" / "sbom" / "data.json").read_text(encoding="utf-8"))
    names = {part["purl"].partition("@")[0] for part in made["components"]}
    python = {f"pkg:pypi/{name}" for name in ("numba", "great-expectations", "pip")}
    assert python | {"pkg:deb/debian/libc6", "pkg:deb/debian/python3"} <= names
    assert "pkg:pypi/torch" not in names
