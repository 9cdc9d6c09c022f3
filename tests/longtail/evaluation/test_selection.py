"""Val F1 at its best threshold against scikit-learn over all thresholds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from longtail.evaluation.selection import validation_f1


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_best_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    targets = (rng.random((40, 6)) < 0.25).astype(np.int8)
    scores = np.clip(0.4 * targets + 0.7 * rng.random(targets.shape), 0, 1).astype(np.float32)
    by_cut = {cut: f1_score(targets, scores >= cut, average="micro") for cut in np.unique(scores)}
    found = validation_f1(scores, sp.csr_matrix(targets))
    assert found["micro_f1"] == pytest.approx(max(by_cut.values()), abs=1e-12)
    best = max(cut for cut, f1 in by_cut.items() if f1 > max(by_cut.values()) - 1e-12)
    macro = f1_score(targets, scores >= best, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(macro, abs=1e-12)
    assert found["mean_f1"] == pytest.approx((found["micro_f1"] + macro) / 2, abs=1e-12)


def test_by_hand():
    scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.3]], dtype=np.float32)
    targets = sp.csr_matrix(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.int8))
    # Cut at 0.3: three hits, one false alarm: micro 2·3/(4+3); label 0 perfect, label 1 at 2/3.
    assert validation_f1(scores, targets) == pytest.approx(
        {"micro_f1": 6 / 7, "macro_f1": 5 / 6, "mean_f1": (6 / 7 + 5 / 6) / 2}
    )
