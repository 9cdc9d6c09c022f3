"""Log the run to MLflow and register the model, one version per data, code and parameters."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components._formats.json_file import read_json, write_json
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._registry import client as registry
from components._registry import evidence, run_log
from components._registry.provenance import model_key
from longtail.errors import DataError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Params = registry.RegisterParams


def register(params: Params) -> dict[str, Any]:
    """Find or create the version of this data, code and parameters, and make it the challenger.

    A killed run is finished where it stopped: a version without its alias gets the alias, a
    finished run without a version gets the version, an unfinished run is deleted and done again.

    Returns:
        Name, version, run and experiment, the key, and whether the version already existed.
    """
    for path in (evidence.MODEL, evidence.THRESHOLDS, evidence.ASSIGNMENT, evidence.CORPUS):
        if not path.exists():
            raise DataError(f"{path} does not exist; run `dvc repro` first.")
    table = read_json(evidence.THRESHOLDS)
    artifacts = {"model": evidence.MODEL, "thresholds": evidence.THRESHOLDS}
    if table["models"]["model"]["blend_weight"]:
        artifacts["baseline"] = evidence.BASELINE
    summary = read_json(evidence.SUMMARY) if evidence.SUMMARY.exists() else {}
    key = model_key(artifacts.values(), str(summary.get("profile", "")), params.runtime)
    client = registry.connect()
    with registry.exclusive(params.model_name), registry.reachable():
        version = _only_version(client, params.model_name, key)
        reused = version is not None
        if version is None:
            made = _new_version(client, params, key, artifacts)
            version = _only_version(client, params.model_name, key) or made
        _challenge(client, version)
    return {
        "name": version.name,
        "version": str(version.version),
        "run_id": version.run_id,
        "experiment_id": client.get_run(str(version.run_id)).info.experiment_id,
        "key": key,
        "reused": reused,
    }


def _challenge(client: MlflowClient, version: ModelVersion) -> None:
    champion = registry.by_alias(client, version.name, registry.CHAMPION)
    if registry.number(champion) != registry.number(version):
        registry.move_alias(client, version.name, registry.CHALLENGER, registry.number(version))


def _new_version(
    client: MlflowClient, params: Params, key: str, artifacts: dict[str, Path]
) -> ModelVersion:
    experiment_id = run_log.open_experiment(params.experiment)
    run_id = _finished_run(client, experiment_id, key)
    if run_id is None:
        run_id = run_log.log_run(params, key, artifacts)
    run = client.get_run(run_id)
    if registry.by_model(client, params.model_name) is None:
        client.create_registered_model(params.model_name)
    model_id = run_log.models(run)[0].model_id
    kept = {name: run.data.tags[name] for name in registry.REQUIRED_TAGS}
    return client.create_model_version(
        params.model_name, f"models:/{model_id}", run_id, tags=kept, model_id=model_id
    )


def _only_version(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    """The version with this key. Of several, the first or one that serves or did; the others go.

    The lock does not reach another machine whose cache folder is its own. But the store numbers
    versions one after another, so whoever looks after making one sees the earlier one.
    """
    same = registry.with_key(client, name, key)
    if len(same) < 2:
        return same[0] if same else None
    aliases = client.get_registered_model(name).aliases
    held = {str(aliases[alias]) for alias in aliases if alias != registry.CHALLENGER}
    kept = min(same, key=lambda version: registry.number(version) not in held)
    for version in same:
        if version is not kept and registry.number(version) not in held:
            number, run_id = str(version.version), str(version.run_id)
            # Whoever made it may delete it, too.
            registry.or_none(partial(client.delete_model_version, name, number))
            if run_id != kept.run_id:
                registry.or_none(partial(client.delete_run, run_id))
    return kept


def _finished_run(client: MlflowClient, experiment_id: str, key: str) -> str | None:
    """The finished run with this key; unfinished ones, left by a kill, are deleted (restorably)."""
    finished = None
    for run in client.search_runs([experiment_id], f"tags.`{registry.KEY}` = '{key}'"):
        if run.info.status == "FINISHED" and run_log.models(run):
            finished = run.info.run_id
        else:
            client.delete_run(run.info.run_id)
    return finished


def run() -> None:
    """Register and write `reports/registered.json`."""
    found = register(load_params("register", Params))
    write_json(found, evidence.REGISTERED, indent=2)
    word = "already exists, nothing registered" if found["reused"] else "is registered"
    print(f"{found['name']} version {found['version']} {word} (key {found['key'][:12]}).")


command = click.Command("register", CONTEXT, callback=run, help=__doc__)

if __name__ == "__main__":
    launch(command)
