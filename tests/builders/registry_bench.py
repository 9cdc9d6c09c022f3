"""A registry with one version per variant, and what the tests of `promote` do with it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from components import promote, register
from components._registry import client as registry
from components._registry import decision as _decision
from components._registry.rules import Params
from tests.builders.registry_workspace import PARAMS, WORDS, build

VARIANTS = {
    "middling": {"wrong": 4},
    "good": {"wrong": 0},
    "equal": {"wrong": 0, "blend_weight": 0.01},
    "poor": {"wrong": 7},
    "narrow": {"labels": WORDS[:6]},
    "leaking": {"wrong": 0, "shift": 60},
}
MEASURED = {"size_mb": 1.0, "start_seconds": 1.0, "seconds_per_doc": 0.1, "memory_mb": 1.0}
WHY = {"reason": "a reason", "approved_by": "Ada"}


def register_all(home: Path) -> Path:
    """Make one workspace per variant in `home`, registered in `mlflow.db` in that order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        for name, options in VARIANTS.items():
            build(home / name, **options)
            patch.chdir(home / name)
            register.run()
    return home


class Bench:
    """The registry and workspaces of one test."""

    def __init__(self, versions: Path, home: Path, patch: pytest.MonkeyPatch) -> None:
        shutil.copyfile(versions / "mlflow.db", home / "mlflow.db")
        self.versions, self.home, self.patch = versions, home, patch
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        self.client = registry.connect()
        self.client.delete_registered_model_alias("longtail", "challenger")

    def enter(self, variant: str) -> None:
        """Change to a copy of the variant's workspace, whose version is the challenger."""
        folder = self.home / variant
        if not folder.exists():
            shutil.copytree(self.versions / variant, folder)
        self.patch.chdir(folder)

    def decide(self, variant: str, *, rebase: bool = False) -> dict:
        self.enter(variant)
        params = Params.model_validate(PARAMS["promote"])
        return _decision.decide(self.client, params, rebase=rebase)

    def apply(self) -> None:
        promote.run_apply(**WHY)

    def promoted(self, variant: str) -> None:
        assert self.decide(variant)["verdict"] == "promoted"
        self.apply()

    def alias(self, name: str) -> str | None:
        return registry.number(registry.by_alias(self.client, "longtail", name))

    def crown(self, version: str) -> None:
        self.client.set_registered_model_alias("longtail", "champion", version)

    def history(self) -> list[tuple[str, str | None, str | None]]:
        entries = registry.history(self.client, "longtail")
        return [(entry["action"], entry["from"], entry["to"]) for entry in entries]

    def strict(self) -> None:
        """Let SQLite refuse what does not fit MLflow's columns, as PostgreSQL does."""
        with closing(sqlite3.connect(self.home / "mlflow.db")) as store, store:
            for table, column in (
                ("registered_model_tags", "value"),
                ("model_versions", "description"),
            ):
                for event in ("insert", "update"):
                    store.execute(
                        f"create trigger {table}_{event} before {event} on {table} "
                        f"when length(new.{column}) > 5000 "
                        f"begin select raise(abort, 'value too long for {table}.{column}'); end"
                    )
