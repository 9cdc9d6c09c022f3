"""Which loss `auto` takes, by hand: the best as it is served, not the best alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from components._thresholds_params import Params as ThresholdsParams
from components._train.choice import Choice
from components._train.params import Params
from longtail.evaluation.selection import validation_f1
from tests.builders.params import stage_params

# 20 documents; label 0 is on the first five, label 1 on the last.
TRUTH = np.zeros((20, 2), dtype=np.int8)
TRUTH[:5, 0] = TRUTH[19, 1] = 1
SIGN = 2.0 * TRUTH - 1


def scores(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-np.column_stack([first, second])))).astype(np.float32)


# The SVM knows label 0 and nothing of label 1.
SVM = scores(2 * SIGN[:, 0], np.full(20, -2.0))
# DB knows label 0 too, and takes another document for label 1's.
DB = scores(2 * SIGN[:, 0], np.where(np.arange(20) == 0, 1.0, -1.0))
# BCE knows label 1 and has label 0 weakly the wrong way round.
BCE = scores(-0.5 * SIGN[:, 0], 2 * SIGN[:, 1])


def choice(loss: str = "auto", **thresholds: object) -> Choice:
    rule = stage_params(ThresholdsParams, "thresholds", thresholds).rule
    params = stage_params(Params, "train", {"loss": loss})
    return Choice(SVM, sp.csr_matrix(TRUTH), rule, params)


def chosen(by: Choice) -> str:
    return by.of({"db": by.served(DB), "bce": by.served(BCE)})


def test_auto_takes_the_loss_that_gains_most_from_the_blend() -> None:
    alone = [validation_f1(s, sp.csr_matrix(TRUTH))["mean_f1"] for s in (DB, BCE)]
    # DB: 5 of 6 found without a mistake, macro ½. BCE: all found, with 15 mistakes on label 0.
    assert alone == pytest.approx([(10 / 11 + 1 / 2) / 2, (12 / 27 + (10 / 25 + 1) / 2) / 2])
    assert chosen(choice(blend=False)) == "db"
    assert choice().served(BCE).val["mean_f1"] == 1.0
    assert choice().served(DB).val["mean_f1"] == pytest.approx(alone[0])
    assert chosen(choice()) == "bce"


def test_the_thresholds_in_use_decide_too() -> None:
    """At ½ for all, DB predicts its wrong document; BCE misses label 0 wherever it is alone."""
    fixed = {"objective": "fixed", "value": 0.5, "blend": False}
    db, bce = (choice(**fixed).served(s) for s in (DB, BCE))
    assert db.thresholds.tolist() == bce.thresholds.tolist() == [0.5, 0.5]
    # DB: 5 found, 1 wrong, 1 missed. BCE: 1 found, 15 wrong, 5 missed.
    assert db.val == pytest.approx({"micro_f1": 10 / 12, "macro_f1": 1 / 2, "mean_f1": 2 / 3})
    assert bce.val["micro_f1"] == pytest.approx(2 / 22)
    assert chosen(choice(**fixed)) == "db"


def test_a_named_loss_is_taken_and_of_equals_the_first() -> None:
    assert chosen(choice("db")) == "db"
    same = choice().served(DB)
    assert choice().of({"cb_ntr": same, "db": same}) == "cb_ntr"
