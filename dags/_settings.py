"""What differs between installations, read from the environment at parse time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dags._containers import IMAGES


@dataclass(frozen=True)
class Settings:
    """Where the project, its runs, and its images are (docs/reference/environment.md)."""

    runner: str
    storage: str
    repo: Path
    home: Path
    images: str
    source: str | None
    update: bool
    keep_days: int
    keep_nights: int
    keep_versions: int
    pool: str | None
    queue_size: int

    @property
    def workspaces(self) -> Path:
        """One folder per DAG run."""
        return self.home / "workspaces"

    @property
    def state(self) -> Path:
        """What outlives a run: the feature cache and, unless a server is set, MLflow's store."""
        return self.home / "state"

    @property
    def queues(self) -> Path:
        """What annotators have to do, one folder per night; steps can write there everywhere."""
        return self.state / "queues"

    @property
    def tracking_uri(self) -> str:
        """Where runs and versions are recorded."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.state}/mlflow.db"

    @property
    def artifact_root(self) -> str:
        """Where artifacts go if the store is a file: beside it, not in a workspace."""
        file = self.tracking_uri.partition("sqlite:///")[2]
        return str(Path(file).parent / "mlruns") if file else ""

    @property
    def store(self) -> dict[str, str]:
        """The environment variables by which MLflow finds runs, versions, and artifacts."""
        found = {"MLFLOW_TRACKING_URI": self.tracking_uri}
        if self.artifact_root:
            # Without a server this is the only way to set it; else it is `mlruns` of the cwd.
            found["_MLFLOW_SERVER_ARTIFACT_ROOT"] = self.artifact_root
        return found

    def image(self, target: str) -> str:
        """Full name of the image of one Dockerfile target."""
        return self.images.format(target=target)


def _switch(name: str) -> bool:
    value = os.environ.get(name) or "false"
    if value not in ("true", "false"):
        raise ValueError(f"{name} is {value!r}; expected true or false.")
    return value == "true"


def _count(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number, at least 1.")
    return int(value)


def _storage() -> str:
    value = os.environ.get("LONGTAIL_STORAGE") or "volume"
    if value not in ("volume", "remote"):
        raise ValueError(f"LONGTAIL_STORAGE is {value!r}; expected volume or remote.")
    runner = os.environ.get("LONGTAIL_RUNNER")
    if value == "remote" and runner != "kubernetes":
        raise ValueError(
            f"LONGTAIL_STORAGE is remote and LONGTAIL_RUNNER is {runner}; expected kubernetes, "
            "whose pods may have no common volume."
        )
    return value


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        ValueError: The MLflow store is a path relative to the working folder, a switch is neither
            `true` nor `false`, a count is not a whole number of at least 1, or the storage does not
            exist or does not suit the runner.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        raise ValueError(
            f"MLFLOW_TRACKING_URI is {uri}, relative to the working folder, which changes every "
            "night; expected an absolute path (sqlite:////…), a server's address, or nothing."
        )
    airflow_home = os.environ.get("AIRFLOW_HOME", "~/airflow")
    home = os.environ.get("LONGTAIL_HOME", f"{airflow_home}/longtail")
    return Settings(
        runner=os.environ.get("LONGTAIL_RUNNER", "process"),
        storage=_storage(),
        repo=Path(os.environ.get("LONGTAIL_REPO", Path(__file__).parents[1])).resolve(),
        home=Path(home).expanduser().resolve(),
        images=os.environ.get("LONGTAIL_IMAGES", IMAGES),
        source=os.environ.get("LONGTAIL_SOURCE"),
        update=_switch("LONGTAIL_UPDATE"),
        keep_days=_count("LONGTAIL_KEEP_DAYS", 14),
        keep_nights=_count("LONGTAIL_KEEP_NIGHTS", 30),
        keep_versions=_count("LONGTAIL_KEEP_VERSIONS", 10),
        pool=os.environ.get("LONGTAIL_POOL") or None,
        queue_size=_count("LONGTAIL_QUEUE_SIZE", 200),
    )
