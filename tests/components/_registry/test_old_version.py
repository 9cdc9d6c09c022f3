"""A version that was registered before the code was reorganized still loads, serves and wins.

tests/builders/old_versions contains one, made by the code of commit 2ce1068: its files, evidence
and tags.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from components import drift, promote, register
from components._formats.corpus import write_corpus
from components._frame.exit_codes import GateNotPassed
from components._registry import client as registry
from components._registry import evidence, watch
from components._registry.decision import decide
from components._registry.decision_record import DRIFT
from components._registry.rules import Params
from components._registry.smoke import smoke
from components._registry.worker import Served
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import PARAMS, build, corpus
from tests.components.test_drift import LIMITS

ARCHIVE = ROOT / "tests" / "builders" / "old_versions" / "2ce1068.tar.gz"
URI = "models:/longtail/1"
# Python 3.11.2, which Debian 12 has, knows no filters yet; Python 3.12 and 3.13 warn without one.
EXTRACTED_AS: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry whose version 1, the champion, is the old one, and a better workspace."""
    home = tmp_path_factory.mktemp("old")
    build(home, wrong=0)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home / "old", **EXTRACTED_AS)
    [old] = (home / "old").iterdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        client = registry.connect()
        mlflow.set_experiment("longtail")
        with mlflow.start_run() as run:
            mlflow.log_artifacts(str(old / "evidence"), "evidence")
        tags = json.loads((old / "tags.json").read_text())
        client.create_registered_model("longtail")
        source = (old / "model").as_uri()
        client.create_model_version("longtail", source, run.info.run_id, tags=tags)
        yield home


def version() -> registry.ModelVersion:
    found = registry.by_number(registry.connect(), "longtail", "1")
    assert found is not None
    return found


def test_an_old_version_loads_and_answers_with_its_own_code(home: Path) -> None:
    with Served(URI) as model:
        answer = model.ask(["the ant and the bee", "of the fox"], top_k=3)
    assert [row[0] for row in answer.labels] == ["ant", "fox"] or answer.labels[1][0] == "fox"
    sample = evidence.read_sample(str(version().run_id))
    assert smoke(URI, sample).faults == []


def test_an_old_champion_is_compared_with_a_new_version(home: Path) -> None:
    client = registry.connect()
    registry.move_alias(client, "longtail", registry.CHAMPION, "1")
    register.run()
    decision = decide(client, Params.model_validate(PARAMS["promote"]))
    assert decision["champion"]["version"] == "1"
    assert 0 < decision["champion"]["metrics"]["micro_f1"] <= 1
    assert not [rule for rule in decision["rules"] if rule["rule"] == "champion"]


def test_what_an_old_champion_did_not_keep_is_said_and_done_without(home: Path) -> None:
    """It does not know its whole corpus, its answers to all test documents, or a calibration."""
    client = registry.connect()
    registry.move_alias(client, "longtail", registry.CHAMPION, "1")
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"drift": LIMITS}))
    drift.command.main([], standalone_mode=False)
    found = json.loads(DRIFT.read_text())
    assert found["reason"].startswith("Which documents are new to version 1 is unknown")
    assert watch.promoted_score(client, version(), None) is None
    client.log_metric(str(version().run_id), watch.TEST_METRIC, 0.8)
    write_corpus(corpus(seed=9).assign(id=[f"later{i}" for i in range(400)]), home / "new.parquet")
    with suppress(GateNotPassed):
        drift.command.main(["new.parquet"], standalone_mode=False)
    found = json.loads(DRIFT.read_text())
    sample = evidence.read_sample(str(version().run_id))
    assert found["scored_documents"] == len(sample.texts)
    assert found["documents"]["reference"] == 260  # train and val
    assert found["watch"]["measured"]["n_docs"] > 300
    assert (found["watch"]["promoted"], found["watch"]["estimated"]) == (0.8, None)


def test_an_old_version_can_be_restored(home: Path) -> None:
    client = registry.connect()
    registry.move_alias(client, "longtail", registry.CHAMPION, "2")
    registry.move_alias(client, "longtail", registry.PREVIOUS, "1")
    promote.run_rollback("the new one is slow")
    champion = registry.by_alias(client, "longtail", registry.CHAMPION)
    assert registry.number(champion) == "1"
