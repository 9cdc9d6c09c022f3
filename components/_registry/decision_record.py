"""Writes the decision as JSON, as Markdown, and as the report page with the decision on top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components._formats.json_file import Shape, read_json, write_json
from components._frame.files import written
from components._registry import client as registry
from components._registry import hold
from longtail.report.page.formats import escape_markdown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DECISION, MARKDOWN = Path("reports/decision.json"), Path("reports/decision.md")
DETAILS, PAGE = Path("reports/report.json"), Path("reports/decision.html")
DRIFT, FIGURES = Path("reports/drift.json"), Path("reports/figures")
SHAPE: Mapping[str, Shape] = {
    "verdict": str,
    "summary": str,
    "decision_id": str,
    "model_name": str,
    "rebase": bool,
    "challenger": {"version": str},
    "rules": list,
}


def read() -> dict[str, Any]:
    """The last decision; an empty dict if there is none."""
    if not DECISION.exists():
        return {}
    return read_json(DECISION, maker="longtail promote decide", keys=SHAPE)


def write(client: MlflowClient, challenger: ModelVersion, decision: dict[str, Any]) -> None:
    """Write all three files, and store the decision with the version and its run."""
    write_json(decision, DECISION, indent=2, allow_nan=True)
    text = markdown(decision)
    with written(MARKDOWN) as path:
        path.write_text(text, encoding="utf-8")
    if decision["verdict"] != "unchanged":
        client.log_artifact(str(challenger.run_id), str(MARKDOWN))
        short = registry.shortened(text, registry.MOST_TEXT)
        client.update_model_version(challenger.name, challenger.version, short)
    if DETAILS.exists():
        _render(decision)
        client.log_artifact(str(challenger.run_id), str(PAGE))


def refresh_page(decision: dict[str, Any]) -> None:
    """Render the page again if the report or the measured drift is newer."""
    if not DETAILS.exists():
        return
    newest = max(path.stat().st_mtime for path in (DETAILS, DRIFT) if path.exists())
    if not PAGE.exists() or PAGE.stat().st_mtime < newest:
        _render(decision)


def _render(decision: dict[str, Any]) -> None:
    """Write the report page with the decision on top, next to the page that the stage wrote."""
    from components._formats.page import read_figures, write_page

    drift = None
    if DRIFT.exists():
        keys = {"alarms": list, "judged": bool}
        drift = read_json(DRIFT, maker="longtail drift", keys=keys)
    decision = decision | {"summary": " ".join([decision["summary"], *brakes(decision)])}
    write_page(DETAILS, PAGE, figures=read_figures(FIGURES), decision=decision, drift=drift)


def brakes(decision: Mapping[str, Any]) -> list[str]:
    """What stops the promotion besides the rules, one sentence each."""
    found = [hold.sentence(decision["hold"])] if decision.get("hold") else []
    return found + ["It needs a person's approval."] * bool(decision.get("approval"))


def markdown(decision: dict[str, Any]) -> str:
    """The decision as a table, one row per rule."""
    challenger, champion = decision["challenger"], decision["champion"]
    against = f"version {champion['version']}" if champion else "no champion"
    lines = [
        f"# Version {challenger['version']} against {against}: {decision['verdict']}",
        "",
        _safe(" ".join([decision["summary"], *brakes(decision)])),
        "",
        "| rule | metric | slice | champion | challenger | difference | interval | limit "
        "| verdict | reason |",
        "|---|---|---|---:|---:|---:|---|---:|---|---|",
    ]
    lines += [_row(rule) for rule in decision["rules"]]
    if decision["labels_added"] or decision["labels_removed"]:
        for what in ("added", "removed"):
            labels = ", ".join(map(escape_markdown, decision[f"labels_{what}"]))
            lines += ["", f"Labels {what}: {labels or 'none'}."]
    lines += [f"\n{sentence}" for sentence in label_changes(decision)]
    if known := decision.get("test_set"):
        chances = ", ".join(
            f"+{100 * float(gain):g} points {100 * chance:.0f}%"
            for gain, chance in known["power"].items()
        )
        lines += ["", f"Decision {known['decisions']} on this test set. Chance of recognizing a "
                  f"better model, by {known['objective']}: {chances}."]  # fmt: skip
    if decision["overlap"]:
        lines += ["", f"{decision['overlap']} test documents left out: the champion has seen them."]
    return "\n".join([*lines, "", f"Decided {decision['decided_at']}, {decision['decision_id']}."])


def label_changes(decision: Mapping[str, Any]) -> list[str]:
    """What the history of labels changed in the comparison, in Markdown, one sentence each."""
    mapped = [
        f"{escape_markdown(label)} (the champion's {', '.join(map(escape_markdown, own))})"
        for label, own in decision.get("labels_mapped", {}).items()
    ]
    found = [f"Renamed or merged labels, compared: {', '.join(mapped)}."] if mapped else []
    out = ", ".join(map(escape_markdown, decision.get("labels_left_out", [])))
    return found + ([f"Split or retired labels, not compared: {out}."] if out else [])


def _row(rule: dict[str, Any]) -> str:
    interval = "–".join(_cell(bound) for bound in rule["interval"] or ())
    numbers = (_cell(rule[name]) for name in ("champion", "challenger", "difference"))
    cells = [rule["rule"], rule["metric"], rule["slice"], *numbers, interval]
    cells += [_cell(rule["limit"]), rule["verdict"], rule["reason"]]
    return "| " + " | ".join(_safe(str(cell)) for cell in cells) + " |"


def _safe(text: str) -> str:
    """Text on one line, without HTML, links, or cells of its own; code in backticks stays."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([|\[\]])", r"\\\1", line)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
