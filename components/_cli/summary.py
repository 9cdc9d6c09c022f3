"""Prints the results of a run: what brought what, the decision, where to look next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from components._formats.comparison import COMPARED
from components._formats.json_file import NUMBER, read_json
from components._registry.decision_record import SHAPE
from components._registry.hold import sentence
from components._registry.promotion import OUTCOME
from longtail.report.ingredients import INGREDIENTS

REPORTS = Path("reports")
GROUPS = ("HEAD", "MEDIUM", "TAIL")


def summarize(
    metrics: dict[str, Any], decision: dict[str, Any] | None, outcome: dict[str, Any] | None = None
) -> Table:
    """A table of micro and macro F1 in percent, overall and per label group.

    First the model, then what is left without each of its ingredients, then the model with each of
    the other losses; all of them tuned alike, and blended if the model is. Below: the decision, a
    hold if there is one, and what `apply` did if it is not what was decided.
    """
    table = Table(title="Test set, F1 in %: micro / macro", title_justify="left")
    table.add_column("model")
    for column in ("all labels", *GROUPS):
        table.add_column(column, justify="right")
    for part in _parts(metrics):
        for name, row in part.items():
            cells = [_pair(row), *(_pair(row.get(group)) for group in GROUPS)]
            table.add_row(Text(name), *cells, style="bold" if name == "model" else None)
        table.add_section()
    if decision:
        lines = [f"{decision['verdict'].upper()}: {decision['summary']}"]
        if outcome and outcome["outcome"] != decision["verdict"]:
            lines.append(f"{outcome['outcome'].upper()}: {outcome['why']}")
        elif decision.get("hold"):
            lines.append(f"HELD: {sentence(decision['hold'])}")
        table.caption = Text("\n".join(lines))  # a reason may look like markup: [/red]
        table.caption_justify = "left"
    return table


def _parts(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Parts of the table: name of each row -> its metrics."""
    without = metrics.get("without", {})
    same = {"encoder": "baseline", "loss": COMPARED}  # these models are in the metrics twice
    shown = {"model", "without", *(same[name] for name in same if name in without)}
    titles = {
        name: f"without {INGREDIENTS[name]}" + (f": {same[name]}" if name in same else "")
        for name in without
    }
    return [
        {"model": metrics["model"]},
        {titles[name]: row for name, row in without.items()},
        {
            name if name == "baseline" else f"with {name}": row
            for name, row in metrics.items()
            if name not in shown
        },
    ]


def _pair(row: dict[str, Any] | None) -> str:
    if not row:
        return "–"
    return f"{100 * row['micro_f1']:.1f} / {100 * row['macro_f1']:.1f}"


def show() -> None:
    """Print the table, the decision, and where to look next."""
    console = Console()
    scores = {"micro_f1": NUMBER, "macro_f1": NUMBER}
    metrics = read_json(REPORTS / "metrics.json", keys={"model": scores, "baseline": scores})
    path = REPORTS / "decision.json"
    decide, apply = "longtail promote decide", "longtail promote apply"
    decision = read_json(path, maker=decide, keys=SHAPE) if path.exists() else None
    outcome = (
        read_json(OUTCOME, maker=apply, keys={"outcome": str, "why": str})
        if OUTCOME.exists()
        else None
    )
    console.print(summarize(metrics, decision, outcome))
    page = "decision.html, the report with the decision on top" if decision else "report.html"
    console.print(f"Open {REPORTS / page}.\nMLflow UI: make ui")
