"""`longtail check`: everything that is wrong with params.yaml, at once, before anything runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from components._cli import run
from components._cli.check import SECTIONS, check, command
from longtail.errors import ParameterError
from longtail.models import encoder
from tests.builders.paths import ROOT
from tests.contract.test_table import models

PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(**changes: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | changes))


def with_rule(**rules: Any) -> dict[str, Any]:
    return {"promote": PARAMS["promote"] | rules}


def test_the_sections_are_those_of_the_stages_and_commands():
    assert SECTIONS.keys() == models().keys()
    given()
    assert "all 13 sections are valid" in CliRunner().invoke(command).output


def test_all_sections_are_reported_together():
    given(trian={}, split={}, register=PARAMS["register"] | {"sample": 0})
    with pytest.raises(ParameterError) as caught:
        check()
    message = str(caught.value)
    assert "Unknown section 'trian'. Did you mean 'train'?" in message
    assert "register.sample" in message and "split.fractions" in message
    given(**{"predict": None})
    with pytest.raises(ParameterError, match=r"predict\.batch_docs: Field required"):
        check()


@pytest.mark.parametrize("text", ["a: [", "", "7", "\udcff"])
def test_a_file_that_is_none_is_said_once(text: str):
    Path("params.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(ParameterError):
        check()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"max_loss": {"HAED": 0.01}}, "Unknown label group 'HAED'. Did you mean 'HEAD'"),
        ({"max_loss": {"HEAD": 1}}, ""),
        ({"max_loss": {"HEAD": -0.01}}, "greater than or equal to 0"),
        ({"max_loss": {"HEAD": 5}}, "less than or equal to 1"),
        ({"max_loss": {"HEAD": float("nan")}}, "promote.max_loss.HEAD"),
        ({"floors": {"hamming_loss": 0.1}}, "Unknown metric for a limit 'hamming_loss'"),
        ({"floors": {"micro_f": 0.1}}, "Did you mean 'micro_f1'"),
        ({"over_baseline": {"hamming_loss": 0.0}}, "Unknown metric for a limit"),
        ({"over_baseline": {"macro_f1": float("-inf")}}, "promote.over_baseline.macro_f1"),
        ({"primary_metric": "hamming_loss"}, "primary_metric"),
    ],
)
def test_the_gate_is_not_switched_off_in_silence(rules: dict[str, Any], message: str):
    given(**with_rule(**rules))
    if not message:
        return check()
    with pytest.raises(ParameterError) as caught:
        check()
    assert message in str(caught.value)


def test_the_bundled_encoder_is_loaded_only_for_texts_that_are_too_long(
    monkeypatch: pytest.MonkeyPatch,
):
    given()
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "without_weights", lambda name: pytest.fail("it takes seconds"))
        check()
    given(train=PARAMS["train"] | {"max_length": 513})
    with pytest.raises(ParameterError, match="takes at most 512 tokens"):
        check()


def test_training_chooses_by_a_metric_of_which_more_is_better():
    given(train=PARAMS["train"] | {"objective": "hamming_loss"})
    with pytest.raises(ParameterError, match=r"train\.objective"):
        check()


def test_a_run_starts_with_the_check(monkeypatch: pytest.MonkeyPatch):
    given(trian={})
    Path("dvc.yaml").touch()
    monkeypatch.setattr(run, "get_data", lambda: pytest.fail("data came first"))
    found = CliRunner().invoke(run.command)
    assert isinstance(found.exception, ParameterError)


def test_a_run_without_changes_checks_what_no_stage_has(monkeypatch: pytest.MonkeyPatch):
    """The sections that DVC does not know, and unknown ones; the others ran as they are."""
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    monkeypatch.setattr(run, "DATA", Path("dvc.yaml"))
    monkeypatch.setattr(run, "nothing_changed", lambda _: True)
    given(trian={}, split={}, predict=None)
    message = str(CliRunner().invoke(run.command).exception)
    assert "Unknown section 'trian'" in message and "predict.batch_docs" in message
    assert "split.fractions" not in message
    assert "split.fractions" in str(
        CliRunner().invoke(run.command, ["--profile", "head"]).exception
    )


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [(0, "{}", True), (0, '{"split": ["changed"]}', False), (255, "{}", False), (0, "", False)],
)
def test_nothing_has_changed_only_if_dvc_says_so(monkeypatch, code, said, expected):
    program = f"import sys; print({said!r}); sys.exit({code})"
    monkeypatch.setattr(run, "DVC", [sys.executable, "-c", program])
    assert run.nothing_changed(run.ask_dvc()) is expected
