"""Log the run to MLflow and register the model as a version, once per data, code and parameters."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelOutput, Metric, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from components import _evidence as evidence
from components import _registry as registry
from components._component import guarded, load_params, written
from components._provenance import SERVING, model_key, origin_tags, pack_code
from components._worker import fingerprint
from longtail.errors import DataError

SUMMARY, HISTORY = Path("reports/train/summary.json"), Path("reports/train/history.csv")
METRICS = Path("reports/metrics.json")
REPORTS = (
    Path("reports/report.html"),
    Path("reports/report.json"),
    METRICS,
    Path("reports/split"),
    Path("reports/validate/findings.json"),
    Path("reports/frequencies"),
    Path("reports/figures"),
    Path("reports/train"),
    Path("reports/thresholds"),
)
PACKAGES = ("mlflow", "numpy", "pandas", "scipy", "scikit-learn", "tqdm", "torch", "transformers")
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "text")]),
    outputs=Schema(
        [ColSpec(Array(DataType.string), "labels"), ColSpec(Array(DataType.double), "scores")]
    ),
    params=ParamSchema(
        [ParamSpec("top_k", DataType.long, None), ParamSpec("threshold", DataType.double, None)]
    ),
)
EXAMPLE = pd.DataFrame({"text": ["A small program that converts text files from one encoding."]})


Params = registry.RegisterParams


def register(params: Params) -> dict[str, Any]:
    """Find the version of this data, code and parameters, or make it; it is the challenger then.

    A killed run is finished where it stopped: a version without its alias gets the alias, a
    finished run without a version gets the version, an unfinished run is set aside and done again.
    """
    for path in (evidence.MODEL, evidence.THRESHOLDS, evidence.ASSIGNMENT, evidence.CORPUS):
        if not path.exists():
            raise DataError(f"{path} does not exist; run `dvc repro` first.")
    table = evidence.read_json(evidence.THRESHOLDS)
    artefacts = {"model": evidence.MODEL, "thresholds": evidence.THRESHOLDS}
    if table["blend_weight"]:
        artefacts["baseline"] = evidence.BASELINE
    profile = str(evidence.read_json(SUMMARY).get("profile", "")) if SUMMARY.exists() else ""
    key = model_key(artefacts.values(), profile)
    client = registry.connect()
    with registry.exclusive(params.model_name), registry.reachable():
        version = registry.by_key(client, params.model_name, key)
        reused = version is not None
        if version is None:
            version = _new_version(client, params, key, artefacts)
        _challenge(client, version)
    return {
        "name": version.name,
        "version": str(version.version),
        "run_id": version.run_id,
        "experiment_id": client.get_run(str(version.run_id)).info.experiment_id,
        "key": key,
        "reused": reused,
    }


def _challenge(client: mlflow.MlflowClient, version: ModelVersion) -> None:
    champion = registry.by_alias(client, version.name, registry.CHAMPION)
    if registry.number(champion) != registry.number(version):
        registry.move_alias(client, version.name, registry.CHALLENGER, registry.number(version))


def _new_version(
    client: mlflow.MlflowClient, params: Params, key: str, artefacts: dict[str, Path]
) -> ModelVersion:
    experiment = mlflow.set_experiment(params.experiment)
    run_id = _finished_run(client, experiment.experiment_id, key)
    if run_id is None:
        run_id = _log_run(params, key, artefacts)
    run = client.get_run(run_id)
    if registry.by_model(client, params.model_name) is None:
        client.create_registered_model(params.model_name)
    model_id = _models(run)[0].model_id
    kept = {name: run.data.tags[name] for name in registry.REQUIRED_TAGS}
    return client.create_model_version(
        params.model_name, f"models:/{model_id}", run_id, tags=kept, model_id=model_id
    )


def _finished_run(client: mlflow.MlflowClient, experiment_id: str, key: str) -> str | None:
    """The finished run of this key; unfinished ones, left by a kill, are deleted (restorable)."""
    finished = None
    for run in client.search_runs([experiment_id], f"tags.`{registry.KEY}` = '{key}'"):
        if run.info.status == "FINISHED" and _models(run):
            finished = run.info.run_id
        else:
            client.delete_run(run.info.run_id)
    return finished


def _models(run: Run) -> list[LoggedModelOutput]:
    return run.outputs.model_outputs if run.outputs else []


def _log_run(params: Params, key: str, artefacts: dict[str, Path]) -> str:
    scores, _ = evidence.test_scores()
    assignment = pd.read_parquet(evidence.ASSIGNMENT)
    seen = evidence.seen_ids(assignment)
    tags = {registry.KEY: key, "train_ids_digest": evidence.digest(seen)}
    tags |= origin_tags(evidence.ASSIGNMENT)
    with mlflow.start_run(run_name=key[:12], tags=tags) as run:
        mlflow.log_text(seen, evidence.SEEN_FILE)
        evidence.write_sample(evidence.make_sample(scores, params.sample))
        _log_results(run.info.run_id)
        _log_dataset(tags["data_md5"])
        mlflow.set_tag(registry.FILES, _log_model(artefacts))
    return run.info.run_id


def _log_results(run_id: str) -> None:
    document = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    mlflow.log_params(dict(_flat(document, ".")))
    metrics = [Metric(_metric_name(n), v, _now(), 0) for n, v in _numbers(METRICS)] + list(
        _epochs()
    )
    for start in range(0, len(metrics), 500):
        mlflow.MlflowClient().log_batch(run_id, metrics=metrics[start : start + 500])
    for path in REPORTS:
        if path.is_dir():
            mlflow.log_artifacts(str(path), path.name)
        elif path.exists():
            mlflow.log_artifact(str(path))


def _epochs() -> Iterator[Metric]:
    """One metric per loss and column of the training history, the epoch as its step."""
    if not HISTORY.exists():
        return
    for row in pd.read_csv(HISTORY).to_dict("records"):
        loss, epoch = row.pop("loss"), int(row.pop("epoch"))
        for name, value in row.items():
            if isinstance(value, int | float) and value == value:
                yield Metric(_metric_name(f"{loss}/{name}"), float(value), _now(), epoch)


def _log_dataset(data_md5: str) -> None:
    source = resolve_dataset_source(str(evidence.CORPUS))
    dataset = MetaDataset(source, name="corpus", digest=data_md5[:36])  # type: ignore[abstract]
    mlflow.log_input(dataset, context="training")
    table = evidence.read_json(evidence.FREQUENCIES).get("statistics", {})
    mlflow.log_dict(table, "dataset_statistics.json")


def _log_model(artefacts: dict[str, Path]) -> str:
    """Log the pyfunc with the modules that it needs; the digest of its files."""
    with tempfile.TemporaryDirectory() as folder:
        model = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVING),
            artifacts={name: str(path) for name, path in artefacts.items()},
            code_paths=pack_code(Path(folder)),
            signature=SIGNATURE,
            input_example=EXAMPLE,
            pip_requirements=[f"{p}=={installed(p).split('+')[0]}" for p in PACKAGES],
        )
    return fingerprint(Path(mlflow.artifacts.download_artifacts(model.model_uri)))[0]


def _numbers(path: Path) -> Iterator[tuple[str, float]]:
    if path.exists():
        for name, value in _flat(evidence.read_json(path), "/"):
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield name, float(value)


def _flat(value: Any, separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(
                inner, separator, f"{prefix}{separator}{name}" if prefix else str(name)
            )
    else:
        yield prefix, value


def _now() -> int:
    return int(time.time() * 1000)


def _metric_name(name: str) -> str:
    return re.sub(r"[^\w\-. /:]", "_", name)


def run() -> None:
    """Register and write `reports/registered.json`."""
    found = register(load_params("register", Params))
    with written(evidence.REGISTERED) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    word = "already there" if found["reused"] else "registered"
    print(f"{found['name']} version {found['version']}: {word} (key {found['key'][:12]}).")


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m components.register", description=__doc__).parse_args()
    guarded("register", run)
