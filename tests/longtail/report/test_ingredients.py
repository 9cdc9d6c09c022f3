"""What brought what: values and differences by hand, intervals of the sign-flip test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from longtail.evaluation.sign_flips import paired_differences
from longtail.report.evidence import Evidence, Lacking, Scored
from longtail.report.ingredients import INGREDIENTS, ingredients, without_metrics

RNG = np.random.default_rng(0)
TRUTH = (RNG.random((80, 6)) < [0.5, 0.4, 0.3, 0.3, 0.2, 0.2]).astype(np.int8)
FREQ = np.array([90, 80, 30, 20, 5, 4])  # two labels per group
HALVES = np.full(6, 0.5)


def scores(wrong: int) -> np.ndarray:
    """Scores that are right but for `wrong` random pairs."""
    flip = np.zeros(TRUTH.size, dtype=bool)
    flip[np.random.default_rng(wrong).permutation(TRUTH.size)[:wrong]] = True
    return (0.1 + 0.8 * (TRUTH ^ flip.reshape(TRUTH.shape))).astype(np.float32)


def lacking(title: str, wrong: int, weight: float) -> Lacking:
    """In two blocks of rows."""
    found = scores(wrong)
    return Lacking(title, lambda: iter((found[:50], found[50:])), HALVES, weight)


def evidence(without: dict[str, Lacking | None]) -> Evidence:
    return Evidence(
        labels=list("abcdef"),
        class_freq=FREQ,
        val_freq=FREQ,
        test_freq=FREQ,
        head=50,
        tail=10,
        targets=sp.csr_matrix(TRUTH),
        test=pd.DataFrame(),
        train=pd.DataFrame(),
        models=[Scored("model", "DB + SVM", scores(20), HALVES, 0.4)],
        without=without,
    )


def f1(wrong: int, columns: slice) -> dict[str, float]:
    predicted = scores(wrong)[:, columns] >= 0.5
    return {
        f"{average}_f1": f1_score(TRUTH[:, columns], predicted, average=average, zero_division=0)
        for average in ("micro", "macro")
    }


OPTIONS = {"level": 0.9}
WITHOUT = {
    "thresholds": lacking("DB + SVM at 0.5", 60, 0.3),
    "encoder": lacking("SVM", 90, 0.0),
    "label_names": None,
}


def test_the_model_comes_first_and_the_ingredients_in_their_order() -> None:
    rows = ingredients(evidence(WITHOUT), **OPTIONS)
    assert [row["without"] for row in rows] == [None, "encoder", "label_names", "thresholds"]
    assert list(INGREDIENTS) == ["encoder", "loss", "label_names", "blend", "thresholds"]
    assert [row["title"] for row in rows] == ["DB + SVM", "SVM", None, "DB + SVM at 0.5"]
    assert [row["blend_weight"] for row in rows] == [0.4, 0.0, None, 0.3]


def test_values_are_those_of_what_is_left_overall_and_per_group() -> None:
    rows = ingredients(evidence(WITHOUT), **OPTIONS)
    for row, wrong in ((rows[0], 20), (rows[1], 90), (rows[3], 60)):
        assert row["values"]["all"] == pytest.approx(f1(wrong, slice(None)))
        assert row["values"]["HEAD"] == pytest.approx(f1(wrong, slice(0, 2)))
        assert row["values"]["MEDIUM"] == pytest.approx(f1(wrong, slice(2, 4)))
        assert row["values"]["TAIL"] == pytest.approx(f1(wrong, slice(4, 6)))
    assert rows[2]["values"] == rows[2]["differences"] == rows[0]["differences"] == {}


def test_a_difference_is_what_is_lost_without_the_ingredient() -> None:
    row = ingredients(evidence(WITHOUT), **OPTIONS)[1]
    paired = paired_differences(
        scores(90) >= 0.5,
        scores(20) >= 0.5,
        TRUTH,
        ("micro_f1", "macro_f1"),
        label_masks={"all": np.ones(6, bool), "TAIL": np.arange(6) >= 4},
        **OPTIONS,
    )
    for part, columns in (("all", slice(None)), ("TAIL", slice(4, 6))):
        for metric, (difference, low, high) in row["differences"][part].items():
            lost = f1(90, columns)[metric] - f1(20, columns)[metric]
            assert difference == pytest.approx(lost) and lost < 0
            assert low <= difference <= high
            cell = paired[part][metric]
            assert [difference, low, high] == [cell["difference"], cell["low"], cell["high"]]


def test_without_a_tail_there_is_no_tail() -> None:
    whole = evidence(WITHOUT)
    found = ingredients(Evidence(**{**vars(whole), "tail": 1}), **OPTIONS)
    parts = ["all", "HEAD", "MEDIUM"]
    assert [list(row["values"]) for row in found] == [parts, parts, [], parts]


def test_the_metrics_of_a_run_have_what_is_left_without_each() -> None:
    rows = ingredients(evidence(WITHOUT), **OPTIONS)
    found = without_metrics(rows)
    assert list(found) == ["encoder", "thresholds"]
    expected = {name: round(value, 6) for name, value in f1(90, slice(None)).items()}
    assert {name: found["encoder"][name] for name in expected} == expected
    assert found["encoder"]["TAIL"] == {n: round(v, 6) for n, v in f1(90, slice(4, 6)).items()}
