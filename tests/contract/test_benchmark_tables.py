"""The tables of the benchmark pages are those that the committed result lines give."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import annotation, costs, crossfit, rules, speed, suspects, throughput
from benchmarks.reuters_table import PAGE, TABLES, page, read_rows
from components._frame.params import load_params
from components._train.params import Params


def test_the_page_shows_the_committed_lines() -> None:
    shown = PAGE.read_text(encoding="utf-8")
    made = page(shown, read_rows())
    changes = "\n".join(difflib.unified_diff(shown.splitlines(), made.splitlines(), lineterm=""))
    assert shown == made, f"run `python -m benchmarks.reuters_table`:\n{changes}"
    missing = [name for name in TABLES if f"<!-- {name} -->" not in shown]
    assert not missing, f"{PAGE} lacks the tables {missing}"


def test_no_run_is_recorded_twice() -> None:
    """A line is one run's val or test figures; test is looked at once."""
    rows = read_rows()
    keys = [(str(row["run"]), "test" in row) for row in rows]
    assert len(rows) > 100
    assert sorted(set(keys)) == sorted(keys)


def test_only_one_rate_of_a_loss_was_looked_at_on_test() -> None:
    tested: dict[tuple[int, str, str], set[float]] = {}
    for row in read_rows():
        run = row["run"]
        if "test" in row and "rate" in run:
            key = (run["tokens"], run["head"], run["loss"])
            tested.setdefault(key, set()).add(run["rate"])
    assert {(128, "linear", "bce"), (512, "linear", "db")} <= tested.keys()
    assert {key: rates for key, rates in tested.items() if len(rates) > 1} == {}


@pytest.mark.parametrize(
    ("name", "mark", "made"),
    [
        ("thresholds.md", "rules", rules.table),
        ("crossfit.md", "crossfit", crossfit.table),
        ("suspects.md", "suspects", suspects.table),
        ("speed.md", "speed", speed.table),
        ("speed.md", "curve", speed.curve),
        ("costs.md", "costs", costs.table),
        ("annotation.md", "annotation", lambda: annotation.table(annotation.read_rows())),
    ],
)
def test_the_pages_made_of_one_table_show_the_committed_lines(
    name: str, mark: str, made: Callable[[], str]
) -> None:
    text = Path(PAGE).with_name(name).read_text(encoding="utf-8")
    shown = text.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0]
    assert shown == made(), f"copy between the marks {mark} of {name} what the benchmark prints"


def test_the_throughput_benchmark_trains_with_the_settings_of_the_stage() -> None:
    """A setting that the stage has and fine-tuning does not, or not any more, ended it."""
    own = load_params("train", Params).finetune
    assert throughput.one_epoch().epochs == 1
    assert throughput.one_epoch().learning_rate == own.learning_rate
