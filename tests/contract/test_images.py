"""What a container runs imports only libraries that its image has."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components._frame.pipeline import load_stages
from tests.builders.nights import environment
from tests.builders.paths import ROOT

# What the DAGs run besides the stages of dvc.yaml.
STEPS = {
    "data": ["components.ingest"],
    "train": [
        "components.drift", "components.register", "components.promote", "components._cli.prune",
        "components._cli.refill",
    ],
}  # fmt: skip
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Hides libraries from the project's own imports; other libraries look for some of them themselves.
RUN = """
import builtins, importlib, sys
genuine, hidden = builtins.__import__, sys.argv[2].split()

def hiding(name, scope=None, *arguments, **options):
    importer = (scope or {}).get("__name__", "").partition(".")[0]
    if importer in ("components", "dags", "longtail") and name.partition(".")[0] in hidden:
        raise ModuleNotFoundError(f"No module named {name!r} in this image", name=name)
    return genuine(name, scope, *arguments, **options)

builtins.__import__ = hiding
for component in sys.argv[1].split():
    importlib.import_module(component)
"""


def installed(target: str) -> set[str]:
    """The distributions that the target of the Dockerfile asks for beyond the project's own."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    extras = re.search(rf" AS {target}\nRUN python /build/install.py ([a-z ]+)\n", text)
    assert extras, target
    return {name for extra in extras[1].split() for name in distributions(extra)}


def distributions(extra: str) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in EXTRAS[extra]}


@pytest.mark.parametrize("target", sorted(STEPS))
def test_components_import_only_what_their_image_has(target: str) -> None:
    stages = [f"components.{s.name}" for s in load_stages(ROOT / "dvc.yaml") if s.image == target]
    absent = {name for extra in EXTRAS for name in distributions(extra)} - installed(target)
    libraries = {
        library
        for library, owners in packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} & absent
    }
    assert {"data": "torch", "train": "numba"}[target] in libraries
    argv = [sys.executable, "-c", RUN, " ".join(stages + STEPS[target]), " ".join(libraries)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_scheduler_needs_nothing_of_the_library() -> None:
    """Airflow's image has `dags` and `components/_frame` alone."""
    texts = {path.stem: path.read_text("utf-8") for path in (ROOT / "dags").glob("*.py")}
    modules = [f"dags.{name}" for name, text in texts.items() if "kfp import" not in text]
    argv = [sys.executable, "-c", RUN, " ".join(modules), "longtail kfp"]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_step_of_the_dags_is_among_them() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "dags").glob("*.py")]
    found = {name for text in texts for name in re.findall(r'"(components\.[\w.]+)"', text)}
    assert found == {component for components in STEPS.values() for component in components}
