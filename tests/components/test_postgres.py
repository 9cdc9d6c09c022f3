"""The registry on a real PostgreSQL, which refuses what is longer than its column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner

from components import promote, register
from components._cli import prune
from components._registry import client as registry
from components._registry import decision as decisions
from components._registry import hold, retention
from components._registry.rules import Params
from longtail import gate
from tests.builders import postgres
from tests.builders.registry_workspace import PARAMS, build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NAME, LONG = "longtail", "ü" * 6000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three workspaces, registered in PostgreSQL."""
    home = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch, postgres.serve() as address:
        patch.setenv("MLFLOW_TRACKING_URI", f"{address}/mlflow")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        for name, wrong in (("poor", 7), ("middling", 4), ("good", 0)):
            build(home / name, wrong=wrong)
            patch.chdir(home / name)
            register.run()
            register.run()  # once per data, code, and parameters
        yield home


def decide(folder: Path, patch: pytest.MonkeyPatch) -> dict:
    patch.chdir(folder)
    return decisions.decide(
        registry.connect(), Params.model_validate(PARAMS["promote"]), rebase=False
    )


def test_the_life_of_a_registry(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = registry.connect()
    assert [int(version.version) for version in registry.versions(client, NAME)] == [1, 2, 3]
    real = decisions._facts
    labels = gate.Line("labels", gate.REPORTED, ", ".join(f"label {i}" for i in range(2000)))
    monkeypatch.setattr(decisions, "_facts", lambda *sides: [*real(*sides), labels])
    for number, variant in (("2", "middling"), ("3", "good")):
        decision = decide(store / variant, monkeypatch)
        assert decision["verdict"] == "promoted", decision["summary"]
        text = Path("reports/decision.md").read_text()
        version = client.get_model_version(NAME, number)
        assert len(text) > 6000 and len(version.description) <= 5000
        place = client.get_run(version.run_id).info.artifact_uri + "/decision.md"
        assert mlflow.artifacts.load_text(place) == text
        Path("reports/decision.json").write_text(json.dumps(decision | {"summary": LONG}))
        promote.run_apply(reason=LONG[: registry.MOST_REASON], approved_by="Ada")
        assert champion() == number
    promote.run_rollback(reason=LONG[: registry.MOST_REASON], to="2")
    assert champion() == "2"
    promote.run_rollback(
        reason=LONG[: registry.MOST_REASON], leave="3", to="2"
    )  # twice means the same
    held = registry.held(client, NAME)
    assert held and held["from"] == "3" and len(held["reason"]) > 100
    assert decide(store / "good", monkeypatch)["verdict"] == "refused"
    assert hold.release(client, NAME, LONG[: registry.MOST_REASON])
    hold.hold(client, NAME, LONG[: registry.MOST_REASON])
    assert retention.unneeded(client, NAME, 1) == []
    hold.release(client, NAME, "done")
    actions = [entry["action"] for entry in registry.history(client, NAME)]
    assert actions == ["promote", "promote", "rollback", "release", "hold", "release"]


def test_versions_are_pruned(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = registry.connect()
    monkeypatch.chdir(store / "good")
    monkeypatch.setattr(prune, "RESTORABLE_DAYS", 0)
    with registry.exclusive(NAME):
        client.set_registered_model_alias(NAME, "champion", "3")
        client.delete_registered_model_alias(NAME, "challenger")
    run_id = client.get_model_version(NAME, "1").run_id
    build(store / "later", wrong=6)
    monkeypatch.chdir(store / "later")
    register.run()
    client.delete_registered_model_alias(NAME, "challenger")
    done = CliRunner().invoke(prune.command, ["--apply", "--keep-versions", "1"])
    assert done.exit_code == 0, done.output
    assert registry.by_number(client, NAME, "1") is None
    assert registry.or_none(lambda: client.get_run(run_id)) is None, "its rows are gone"


def champion() -> str | None:
    return registry.number(registry.by_alias(registry.connect(), NAME, registry.CHAMPION))
