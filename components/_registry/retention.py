"""What the registry no longer needs: versions and their runs beyond the newest few."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import partial
from typing import TYPE_CHECKING

from mlflow.entities import ViewType
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from components._registry import approval, run_log
from components._registry import client as registry
from components._registry.holders import n_known

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

PRUNED = "pruned"


def unneeded(
    client: MlflowClient, name: str, keep: int, forgotten: Set[str] = frozenset()
) -> list[tuple[ModelVersion, str]]:
    """The versions beyond the newest `keep` refused ones and the newest `keep` former champions.

    A version with an alias is needed, and so is one that waits for approval. While promotion is on
    hold, all are: somebody may be looking for the last good one. Of the others, those go first that
    know a document of `forgotten` (digests of ids).

    Returns:
        Each version with the reason, oldest first.
    """
    model = registry.by_model(client, name)
    if model is None or registry.held(client, name):
        return []
    needed = _needed(client, name)
    history = registry.history(client, name)
    champions = {str(entry[side]) for entry in history for side in ("from", "to")}
    found: list[tuple[ModelVersion, str]] = []
    known = registry.versions(client, name)
    for former, kind in ((False, "versions that were never the champion"),
                         (True, "former champions")):  # fmt: skip
        loose = [
            version
            for version in known
            if str(version.version) not in needed and (str(version.version) in champions) == former
        ]
        knowing = [version for version in loose if forgotten and n_known(version, forgotten)]
        found += [(version, "it knows forgotten documents") for version in knowing]
        loose = [version for version in loose if version not in knowing]
        older = loose[: max(0, len(loose) - keep)]
        found += [(version, f"the newest {keep} {kind} are kept") for version in older]
    return sorted(found, key=lambda pair: int(pair[0].version))


def revisions(client: MlflowClient, name: str) -> list[str]:
    """The data revisions of all versions in use, whose nights must be kept, too."""
    found = (registry.by_number(client, name, number) for number in _needed(client, name))
    return [version.tags.get("data_revision", "") for version in found if version is not None]


def _needed(client: MlflowClient, name: str) -> list[str]:
    """The numbers of the versions that have an alias or wait for approval, in order."""
    model = registry.by_model(client, name)
    if model is None:
        return []
    waiting = approval.waiting(client, name, registry.versions(client, name))
    numbers = {*map(str, model.aliases.values()), *(str(v.version) for v in waiting)}
    return sorted(numbers, key=int)


def megabytes(client: MlflowClient, run: Run) -> float:
    """The size of the run's artifacts and of its models."""
    return sum(map(_size, _repositories(client, run))) / 1e6


def remove(client: MlflowClient, version: ModelVersion) -> None:
    """Delete the version and its run; `sweep` deletes the files of such runs."""
    client.delete_model_version(version.name, str(version.version))
    client.set_tag(str(version.run_id), PRUNED, str(version.version))
    client.delete_run(str(version.run_id))


def sweep(client: MlflowClient, experiment: str) -> int:
    """Delete the files of all runs that `remove` has deleted, also those that a kill left behind.

    Returns:
        The number of runs.
    """
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return 0
    runs = client.search_runs([found.experiment_id], f"tags.{PRUNED} != ''", ViewType.DELETED_ONLY)
    for run in runs:
        for repository in _repositories(client, run):
            if _size(repository):
                repository.delete_artifacts()
    return len(runs)


def _repositories(client: MlflowClient, run: Run) -> Iterator[ArtifactRepository]:
    """Where the run keeps its artifacts, and where each of its models is."""
    yield get_artifact_repository(run.info.artifact_uri)
    for model in run_log.models(run):
        place = registry.or_none(partial(client.get_logged_model, model.model_id))
        if place is not None:
            yield get_artifact_repository(place.artifact_location)


def _size(repository: ArtifactRepository, path: str | None = None) -> int:
    return sum(
        _size(repository, entry.path) if entry.is_dir else int(entry.file_size or 0)
        for entry in repository.list_artifacts(path)
    )
