"""The table at the end of a run, as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from components._cli import summary as _summary
from components._cli.summary import summarize
from longtail.errors import DataError


def f1(micro: float, macro: float) -> dict[str, float]:
    return {"micro_f1": micro, "macro_f1": macro}


METRICS: dict[str, Any] = {
    "model": f1(0.58449, 0.36851)
    | {"HEAD": f1(0.7, 0.6), "MEDIUM": f1(0.5, 0.4), "TAIL": f1(0, 1)},
    "baseline": f1(0.5776, 0.2809) | {"HEAD": f1(0.71, 0.61), "TAIL": f1(0.188, 0.11)},
    "bce": f1(0.5801, 0.3),
    "cb_ntr": f1(0.5802, 0.31),
    "without": {
        "encoder": f1(0.5776, 0.2809) | {"HEAD": f1(0.71, 0.61), "TAIL": f1(0.188, 0.11)},
        "loss": f1(0.5801, 0.3),
        "blend": f1(0.55, 0.32),
    },
}
DECISION = {
    "verdict": "promoted", "summary": "micro-F1 rose by 0.7 points [0.2, 1.3].", "decision_id": "d",
    "model_name": "m", "rebase": False, "challenger": {"version": "3"}, "rules": [],
}  # fmt: skip


def text_of(decision: dict[str, Any] | None) -> list[str]:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summarize(METRICS, decision))
    return console.export_text().splitlines()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def test_the_model_what_is_left_without_each_ingredient_and_the_other_losses() -> None:
    """In percent with one decimal; a dash for an empty group; each model once."""
    lines = text_of(None)
    assert lines[0].strip() == "Test set, F1 in %: micro / macro"
    rows = [cells(line) for line in lines if line.startswith(("│", "┃"))]
    assert rows == [
        ["model", "all labels", "HEAD", "MEDIUM", "TAIL"],
        ["model", "58.4 / 36.9", "70.0 / 60.0", "50.0 / 40.0", "0.0 / 100.0"],
        ["without the encoder: baseline", "57.8 / 28.1", "71.0 / 61.0", "–", "18.8 / 11.0"],
        ["without the loss: bce", "58.0 / 30.0", "–", "–", "–"],
        ["without the blend", "55.0 / 32.0", "–", "–", "–"],
        ["with cb_ntr", "58.0 / 31.0", "–", "–", "–"],
    ]


def test_a_model_that_is_no_ingredient_is_listed_by_its_name() -> None:
    metrics = {name: METRICS[name] for name in ("model", "baseline", "bce")}
    table = summarize(metrics, None)
    assert [str(c) for c in table.columns[0].cells] == ["model", "baseline", "with bce"]


def test_the_decision_is_below_the_table_word_for_word() -> None:
    line_below = "PROMOTED: micro-F1 rose by 0.7 points [0.2, 1.3]."
    assert text_of(DECISION)[-1].strip() == line_below
    assert line_below not in "\n".join(text_of(None))


def test_a_reason_is_no_markup() -> None:
    reason = "[/red] [bold]too[/bold] many"
    lines = text_of(DECISION | {"hold": {"when": "now", "who": "Ada", "reason": reason}})
    assert reason in " ".join(lines)


def test_only_the_model_is_bold() -> None:
    styles = [row.style for row in summarize(METRICS, None).rows]
    assert styles == ["bold", *[None] * 4]


def test_show_reads_the_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="reports/metrics.json does not exist; run `dvc repro`"):
        _summary.show()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "metrics.json").write_text(json.dumps(METRICS), encoding="utf-8")
    _summary.show()
    printed = capsys.readouterr().out
    assert "58.4 / 36.9" in printed and "PROMOTED" not in printed
    (tmp_path / "reports" / "decision.json").write_text(json.dumps(DECISION), encoding="utf-8")
    _summary.show()
    assert "PROMOTED: " in capsys.readouterr().out


def test_a_hold_and_what_apply_did_are_shown() -> None:
    hold = {"when": "2026-05-01", "who": "Ada", "reason": "labels of May"}
    held = DECISION | {"hold": hold}
    assert "HELD: Promotion has been held since 2026-05-01 by Ada" in caption(held, None)
    outcome = {"outcome": "waiting", "why": "Version 2 waits for approval."}
    assert caption(held, outcome).endswith("\nWAITING: Version 2 waits for approval.")
    assert "\n" not in caption(DECISION, {"outcome": "promoted", "why": "x"})


def caption(decision: dict, outcome: dict | None) -> str:
    return str(summarize(METRICS, decision, outcome).caption)
