"""Every image: no root, and what is in it answers."""

from __future__ import annotations

import pytest

from scripts import podman
from tests.builders.paths import ROOT

pytestmark = pytest.mark.containers
# What each image is asked, without network: the parts that no other test runs in it.
QUESTIONS = {
    "data": "import components.ingest, components.thresholds, components.validate",
    "train": "import components.drift, components.predict, components.promote, components.register",
    "airflow": "import asyncpg, psycopg2, dags.nightly_retraining as n; assert n.dag.task_ids",
    "mlflow": "import boto3, psycopg2, mlflow.server",
}


@pytest.mark.parametrize("target", sorted(QUESTIONS))
def test_it_runs_as_nobody_in_particular_and_answers(target: str, images: str) -> None:
    name = f"localhost/longtail-{target}:latest"
    assert podman.podman("image", "inspect", "--format", "{{.User}}", name) == "10001"
    program = f"import os; assert os.getuid() == 10001; {QUESTIONS[target]}; print('yes')"
    words = ("run", "--rm", "--network=none", name, "python", "-c", program)
    assert podman.podman(*words).splitlines()[-1] == "yes"


def test_the_scheduler_s_image_has_the_tools_of_a_workspace(images: str) -> None:
    words = ("run", "--rm", "--network=none", "localhost/longtail-airflow:latest")
    assert podman.podman(*words, "git", "--version").startswith("git version")
    assert podman.podman(*words, "python", "-m", "dvc", "--version").startswith("3.")


def test_every_target_of_the_dockerfile_is_asked() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    targets = {line.split()[-1] for line in text.splitlines() if line.startswith("FROM ")}
    assert targets == {"base", *QUESTIONS}
