"""The example of a cluster: manifests that the published schemas accept and that fit each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

from components._frame import stage
from components._frame.pipeline import SHARED
from dags._containers import MOUNT, USER
from dags._pods import load_pods
from dags._steps import step_names
from tests.builders.cluster import validate
from tests.builders.paths import ROOT

FOLDER = ROOT / "docker" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((ROOT / "docker" / "kustomization.yaml").read_text("utf-8"))
# What somebody creates by hand, and what Airflow reads.
OTHERS = ("trainjob.yaml", "pods.yaml")
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name not in OTHERS)
MANIFESTS = [manifest for path in FILES for manifest in yaml.safe_load_all(path.read_text("utf-8"))]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {m["metadata"]["name"]: m for m in MANIFESTS if m["kind"] == kind}


def inside(value: Any, key: str) -> list[Any]:
    """Everything under this key, at any depth."""
    if isinstance(value, list):
        return [found for item in value for found in inside(item, key)]
    if not isinstance(value, dict):
        return []
    here = [value[key]] if key in value else []
    return here + [found for item in value.values() for found in inside(item, key)]


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda m: f"{m['kind']}-{m['metadata']['name']}"
)
def test_the_published_schemas_accept_it(manifest: dict[str, Any]) -> None:
    validate(manifest)


def test_the_train_job_has_the_fields_that_the_trainer_knows() -> None:
    """Its model leaves out what it does not know, so nothing may be missing of what it read."""
    manifest = yaml.safe_load((FOLDER / "trainjob.yaml").read_text("utf-8"))
    assert TrainerV1alpha1TrainJob.from_dict(manifest).to_dict() == manifest
    trainer = manifest["spec"]["trainer"]
    assert tuple(trainer["command"][:3]) == ("python", "-m", stage.__name__)
    assert trainer["command"][3] in SHARED
    (claim,) = inside(manifest, "persistentVolumeClaim")
    assert claim["claimName"] in of_kind("PersistentVolumeClaim")
    mounts = {mount["mountPath"] for mount in inside(manifest, "volumeMounts")[0]}
    assert MOUNT in mounts
    (cache,) = (e["value"] for e in trainer["env"] if e["name"] == "LONGTAIL_CACHE")
    assert str(Path(cache).parent) in mounts
    assert inside(manifest, "runAsUser") == [USER]


def test_the_schemas_refuse_a_misspelled_field() -> None:
    wrong = {**MANIFESTS[0], "metdata": {}}
    with pytest.raises(Exception, match="metdata"):
        validate(wrong)


def test_every_file_is_applied_but_the_secrets() -> None:
    applied = {Path(name).name for name in KUSTOMIZATION["resources"]}
    assert applied == {path.name for path in FILES} - {"secret.example.yaml"}
    for generated in KUSTOMIZATION["configMapGenerator"]:
        assert all((ROOT / "docker" / name).is_file() for name in generated["files"])


def test_names_that_refer_to_something_refer_to_something() -> None:
    generated = {generated["name"] for generated in KUSTOMIZATION["configMapGenerator"]}
    maps = generated | set(of_kind("ConfigMap"))
    assert {found["name"] for found in inside(MANIFESTS, "configMap")} <= maps
    assert {found["name"] for found in inside(MANIFESTS, "configMapRef")} <= maps
    assert {found["name"] for found in inside(MANIFESTS, "secretRef")} <= set(of_kind("Secret"))
    references = inside(MANIFESTS, "secretKeyRef")
    assert len(references) > 5
    for reference in references:
        assert reference["key"] in of_kind("Secret")[reference["name"]]["stringData"]
    claims = set(of_kind("PersistentVolumeClaim"))
    assert {found["claimName"] for found in inside(MANIFESTS, "persistentVolumeClaim")} == claims
    pods = load_pods(str(FOLDER / "pods.yaml"), step_names(ROOT))
    accounts = inside([MANIFESTS, pods], "serviceAccountName")
    assert set(accounts) == set(of_kind("ServiceAccount"))


def test_images_are_the_project_s() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    targets = set(re.findall(r"^FROM \S+ AS (\w+)", dockerfile, re.M))
    used = {image.rsplit(":", 1)[0] for image in inside(MANIFESTS, "image")} - {
        "docker.io/library/postgres"
    }
    assert used == {image["name"] for image in KUSTOMIZATION["images"]}
    assert {name.removeprefix("localhost/longtail-") for name in used} <= targets
    assert set(load_pods(str(FOLDER / "pods.yaml"), step_names(ROOT))["images"]) <= targets


def test_settings_are_documented() -> None:
    settings = of_kind("ConfigMap")["airflow"]["data"]
    page = (ROOT / "docs" / "reference" / "environment.md").read_text("utf-8")
    ours = [name for name in settings if name.startswith(("LONGTAIL_", "MLFLOW_"))]
    assert len(ours) > 6 and all(f"`{name}`" in page for name in ours)
