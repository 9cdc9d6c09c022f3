"""Writes the tables of docs/benchmarks/reuters.md from the lines of results/reuters.jsonl.

    python -m benchmarks.reuters_table

A table goes between `<!-- name -->` and `<!-- end -->`; a test compares the page with the lines.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "reuters.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "reuters.md"
GROUPS = ("all", "HEAD", "MEDIUM", "TAIL")
# BERT-base, test micro/macro F1 of Huang et al. 2021, table 2 (https://arxiv.org/abs/2109.04712).
PUBLISHED = {
    "svm": "87.60 / 51.63",
    "bce": "89.14 / 47.32",
    "focal": "89.97 / 56.83",
    "cb": "89.23 / 52.96",
    "r_fl": "89.47 / 54.35",
    "ntr_fl": "90.70 / 60.70",
    "db_0fl": "89.45 / 57.98",
    "cb_ntr": "90.74 / 63.31",
    "db": "90.62 / 64.47",
}
BEST_PUBLISHED = (90.74, 64.47)
Row = dict[str, Any]


def heads(rows: list[Row], head: str) -> list[str]:
    """Mean ± deviation over the seeds, at each loss's rate chosen on val; texts of 128 tokens."""
    lines = [
        "| loss | rate | seeds | all | HEAD | MEDIUM | TAIL | published, all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    tested = [
        row
        for row in rows
        if "test" in row
        and (
            row["run"].get("head") == "svm"
            or (row["run"].get("tokens"), row["run"].get("head")) == (128, head)
        )
    ]
    for loss in dict.fromkeys(row["run"].get("loss", "svm") for row in tested):
        mine = [row for row in tested if row["run"].get("loss", "svm") == loss]
        rate = mine[0]["run"].get("rate")
        cells = [cell([row["test"] for row in mine], group) for group in GROUPS]
        lines.append(
            f"| {loss} | {f'{rate:g}' if rate else '–'} | {len(mine)} | "
            f"{' | '.join(cells)} | {PUBLISHED.get(loss, '–')} |"
        )
    return lines


def lengths(rows: list[Row]) -> list[str]:
    """The runs at their chosen rates, texts cut at 128 and at 512 tokens."""
    lines = ["| head | loss | 128: all | TAIL | 512: all | TAIL |", "|---|---|---|---|---|---|"]
    found: dict[tuple[str, str], dict[int, list[dict[str, float]]]] = {}
    for row in rows:
        if "test" in row and "rate" in (run := row["run"]):
            of_run = found.setdefault((run["head"], run["loss"]), {})
            of_run.setdefault(run["tokens"], []).append(row["test"])
    for (head, loss), tests in found.items():
        if tests.keys() >= {128, 512}:
            cells = [cell(tests[n], group) for n in (128, 512) for group in ("all", "TAIL")]
            lines.append(f"| {head} | {loss} | {' | '.join(cells)} |")
    return lines


def cell(tests: list[dict[str, float]], group: str) -> str:
    """Micro / macro F1 of a group of labels, each mean ± deviation."""
    return " / ".join(
        spread([test[f"{group} {m}_f1"] for test in tests]) for m in ("micro", "macro")
    )


def spread(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def best(rows: list[Row]) -> list[str]:
    """Every step toward the best; the one with the best mean of the val F1s is marked."""
    lines = [
        "| model, seeds averaged | tokens | loss | SVM's weight | thresholds | val | "
        "test, all | gap to the published best | HEAD | MEDIUM | TAIL |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    mine = [row for row in rows if "best" in row["run"]]
    chosen = max(mine, key=val_mean, default=None)
    for row in mine:
        run, test = row["run"], row["test"]
        name = run["best"] or "SVM alone"
        name = f"**{name}**" if row is chosen else name
        gap = " / ".join(
            f"{test[f'all {m}_f1'] - published:+.2f}"
            for m, published in zip(("micro", "macro"), BEST_PUBLISHED, strict=True)
        )
        cells = [cell([test], group) for group in GROUPS]
        lines.append(
            f"| {name} | {run.get('tokens', '–')} | {run['loss'] or '–'} | "
            f"{row['weight'] if run['best'] else '–'} | {run['thresholds']} | "
            f"{cell([row['val']], 'all')} | {cells[0]} | {gap} | {' | '.join(cells[1:])} |"
        )
    return lines


def val_mean(row: Row) -> float:
    return (row["val"]["all micro_f1"] + row["val"]["all macro_f1"]) / 2


def finetuned(rows: list[Row]) -> list[str]:
    """One line per run; `best / epochs` is the epoch that was kept and how many were run."""
    lines = [
        "| loss | head | frozen layers | seed | best / epochs | val | all | HEAD | MEDIUM | "
        "TAIL | published, all |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "finetuned" in (run := row["run"]):
            val, cells = row["val"], [cell([row["test"]], group) for group in GROUPS]
            lines.append(
                f"| {run['loss']} | {run['finetuned']} | {run['frozen']} | {run['seed']} | "
                f"{val['epoch']} / {len(row['epochs'])} | "
                f"{100 * val['micro_f1']:.1f} / {100 * val['macro_f1']:.1f} | "
                f"{' | '.join(cells)} | {PUBLISHED.get(run['loss'], '–')} |"
            )
    return lines


def costs(rows: list[Row]) -> list[str]:
    """CPU seconds of the runs, and the days when they were made."""
    lines = ["| runs | lines | CPU s, all | CPU s, median | dates |", "|---|---|---|---|---|"]
    timed = [row for row in rows if "cpu_s" in row]
    kinds = {name(row): [r for r in timed if name(r) == name(row)] for row in timed}
    for kind, mine in kinds.items():
        spent = [row["cpu_s"] for row in mine]
        days = ", ".join(sorted({row["date"] for row in mine}))
        lines.append(
            f"| {kind} | {len(mine)} | {sum(spent):.0f} | {statistics.median(spent):.1f} | {days} |"
        )
    return lines


def name(row: Row) -> str:
    run = row["run"]
    kind = run.get("head", "fine-tuned")
    return f"{kind}, {run['tokens']} tokens" if "tokens" in run else kind


TABLES: dict[str, Callable[[list[Row]], list[str]]] = {
    "losses on the linear head": lambda rows: heads(rows, "linear"),
    "losses on the hidden head": lambda rows: heads(rows, "hidden + names"),
    "128 and 512 tokens": lengths,
    "best": best,
    "fine-tuned": finetuned,
    "costs": costs,
}


def page(text: str, rows: list[Row]) -> str:
    """The page `text` with each of its tables remade.

    Raises:
        ValueError: the page asks for an unknown table.
    """

    def fill(match: re.Match[str]) -> str:
        if match[1] not in TABLES:
            raise ValueError(f"{PAGE.name} asks for table {match[1]!r}, expected {list(TABLES)}.")
        return "\n".join([f"<!-- {match[1]} -->", "", *TABLES[match[1]](rows), "", "<!-- end -->"])

    return re.sub(r"<!-- (?!end)(.+?) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def read_rows() -> list[Row]:
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), read_rows()), encoding="utf-8")


if __name__ == "__main__":
    main()
