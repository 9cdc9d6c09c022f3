"""Labels that copies or annotators contradict, by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import scipy.sparse as sp

from components._frame.params import load_params
from components.validate import Params
from longtail.validation.conflicts import CONFLICTS, by_annotators, by_copies, worst
from longtail.validation.corpus_view import CorpusView, Limits, Rows
from tests.builders.paths import ROOT

LIMITS = Limits(**load_params("validate", Params, ROOT / "params.yaml").limits.model_dump())
STORY = "a long story about wheat and barley that goes on for a while and never comes to an end"


def view(texts: list[str], labels: list[list[str]], rows: Rows | None = None) -> CorpusView:
    ids = [str(k) for k in range(len(texts))]
    return CorpusView(ids, texts, labels, LIMITS, {}, rows=rows)


def shares(found: sp.csr_matrix, seen: CorpusView) -> dict[tuple[int, str], float]:
    cells = found.tocoo()
    names = [seen.vocabulary[i] for i in cells.col]
    values = zip(cells.row.tolist(), names, cells.data.round(6).tolist(), strict=True)
    return {(row, name): value for row, name, value in values if value}


def test_copies_and_near_copies_contradict_what_only_some_have() -> None:
    texts = ["Same text!", "same text", "same  text", STORY, STORY + " now", "alone", "", ""]
    labels = [["x"], ["x"], ["y"], ["x", "z"], ["x"], ["q"], ["x"], ["y"]]
    seen = view(texts, labels)
    assert shares(by_copies(seen), seen) == {
        (0, "x"): 0.5, (0, "y"): 0.5, (1, "x"): 0.5, (1, "y"): 0.5, (2, "x"): 1.0, (2, "y"): 1.0,
        (3, "z"): 1.0, (4, "z"): 1.0,
    }  # fmt: skip


def test_annotators_contradict_where_several_judged() -> None:
    rows = Rows(
        ["0", "0", "0", "1", "2", "2"],
        ["ann", "ben", "cat", "ann", "ann", "ben"],
        [["x"], ["x", "y"], ["y", "unheard"], ["y"], ["y"], ["y"]],
    )
    seen = view(["a", "b", "c"], [["x"], ["x"], ["y"]], rows)
    found = shares(by_annotators(seen), seen)
    assert found == {(0, "x"): round(1 / 3, 6), (0, "y"): round(2 / 3, 6)}


def test_without_copies_or_judgments_nothing_is_contradicted() -> None:
    seen = view(["a b", "c d"], [["x"], ["y"]])
    assert [rule(seen).nnz for rule in CONFLICTS.values()] == [0, 0]
    assert worst("copies", sp.csr_matrix((2, 2)), 5, sp.csr_matrix((2, 2))) == []


def test_the_worst_come_first_without_those_to_skip() -> None:
    share = sp.csr_matrix([[0.5, 1.0], [0.0, 0.7]])
    found = worst("copies", share, 2, sp.csr_matrix(np.array([[0, 1], [0, 0]])))
    assert [tuple(asdict(s).values()) for s in found] == [
        ("copies", 1, 1, 0.7),
        ("copies", 0, 0, 0.5),
    ]
