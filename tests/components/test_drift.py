"""The monitor on a real champion: no alarm on texts of the same kind, an alarm on others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components import drift, register
from components._formats.corpus import write_corpus
from components._frame.exit_codes import GateNotPassed
from components._registry import client as registry
from longtail.errors import DataError
from tests.builders.registry_workspace import PARAMS, InProcess, build, corpus

REGISTER = PARAMS["register"] | {"sample": 64}
LIMITS = {
    "min_psi": 0.2,
    "alpha": 0.05,
    "max_drifted_labels": 0.2,
    "max_unknown_tokens": 0.1,
    "min_docs": 50,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("drift")
    build(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        patch.setattr(drift, "Served", InProcess)
        params = PARAMS | {"drift": LIMITS, "register": REGISTER}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        register.run()
        with pytest.raises(DataError, match="no champion"):
            watch(corpus(seed=9))
        registry.connect().set_registered_model_alias("longtail", "champion", "1")
        yield home


def watch(frame) -> dict:
    write_corpus(frame, Path("new.parquet"))
    drift.command.main(["new.parquet"], standalone_mode=False)
    return json.loads(drift.OUTPUT.read_text())


def test_documents_of_the_same_kind_exceed_no_limit(home: Path):
    found = watch(corpus(seed=9))
    assert (found["alarms"], found["judged"], found["champion"]) == ([], True, "1")
    assert found["documents"] == {"reference": 260, "new": 400}


def test_other_documents_raise_an_alarm_with_exit_code_4(home: Path):
    frame = corpus(seed=9)
    frame["text"] = [f"quite other words {text}" for text in frame["text"]]
    with pytest.raises(GateNotPassed, match="words are new"):
        watch(frame)
    assert json.loads(drift.OUTPUT.read_text())["unknown_words"] > 0.2


def test_too_few_documents_are_measured_but_not_judged(home: Path):
    frame = corpus(49, seed=9)
    frame["text"] = "quite other words"
    found = watch(frame)
    assert (found["alarms"], found["judged"]) == ([], False)
