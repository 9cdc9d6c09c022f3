"""Learning curves against laws that are known, and worlds that are simulated from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from longtail.evaluation.learning_curve import (
    BENT,
    FEW,
    SCARCE,
    UNFOUND,
    learning_curve,
    power_law,
)
from longtail.evaluation.metrics import compute

N = np.array([500, 1000, 2000, 4000, 8000])
NOW = 10_000
Law = Callable[[float], float]


def world(seed: int, law: Law, n_docs: int = 500) -> tuple[sp.csr_matrix, list[sp.csr_matrix]]:
    """Targets, and predictions whose precision and recall are both law(n)."""
    rng = np.random.default_rng(seed)
    targets = sp.csr_matrix(rng.random((n_docs, 20)) < rng.uniform(0.01, 0.05, 20)).astype(np.int8)
    rows, columns = targets.nonzero()
    found = []
    for n in N:
        kept = rng.random(len(rows)) < law(n)
        free = np.argwhere(targets.toarray() == 0)
        wrong = free[rng.permutation(len(free))[: rng.poisson((1 - law(n)) * len(rows))]]
        at = np.r_[rows[kept], wrong[:, 0]], np.r_[columns[kept], wrong[:, 1]]
        found.append(sp.csr_matrix((np.ones(len(at[0]), np.int8), at), shape=targets.shape))
    return targets, found


@pytest.mark.parametrize("exponent", [0.1, 0.35, 0.9])
def test_a_law_without_noise_is_found_again(exponent: float) -> None:
    def law(n: np.ndarray) -> np.ndarray:
        return 0.8 - 0.5 * (n / 500.0) ** -exponent

    at = np.array([10_000.0, 10_500.0])
    found = power_law(N.astype(float), law(N)[:, None], at)[:, 0]
    np.testing.assert_allclose(found, law(at), atol=1e-3)
    assert found[1] - found[0] == pytest.approx(law(at)[1] - law(at)[0], rel=0.03)


@pytest.mark.parametrize(
    "law", [lambda n: 0.7 - 8 * n**-0.5, lambda n: 0.9 - 1.6 * n**-0.2, lambda n: 0.6]
)
def test_the_interval_holds_the_true_gain(law: Law) -> None:
    true, held, known = law(NOW + 500) - law(NOW), 0, 0
    for seed in range(8):
        targets, predicted = world(seed, law)
        [found] = learning_curve(N, predicted, targets, n_now=NOW, n_draws=150).values()
        if found["micro_f1"]["next"]:
            _, low, high = found["micro_f1"]["next"]
            known, held = known + 1, held + (low <= true <= high)
            assert high - low < 0.012
    assert known >= 6 and held >= known - 2


def test_a_curve_that_bends_upwards_is_not_extrapolated() -> None:
    targets, predicted = world(0, lambda n: 0.2 + 0.5 / (1 + (6000 / n) ** 2))
    [found] = learning_curve(N, predicted, targets, n_now=NOW, n_draws=150).values()
    assert (found["micro_f1"]["next"], found["micro_f1"]["unknown"]) == (None, BENT)


def test_few_points_or_positives_are_not_extrapolated_but_shown() -> None:
    targets, predicted = world(0, lambda n: 0.7 - 8 * n**-0.5)
    [few] = learning_curve(N[-3:], predicted[-3:], targets, n_now=NOW, n_draws=50).values()
    assert (few["micro_f1"]["next"], few["micro_f1"]["unknown"]) == (None, FEW)
    counts = np.asarray(targets.sum(axis=0)).ravel()
    mask = np.arange(20) == counts.argmin()
    assert counts.min() < 30
    found = learning_curve(
        N, predicted, targets, n_now=NOW, label_masks={"one": mask, "rest": ~mask}, n_draws=50
    )
    assert found["one"]["micro_f1"]["unknown"] == SCARCE
    assert found["one"]["support"] == counts.min() and found["rest"]["n_labels"] == 19
    for name, chosen in (("one", mask), ("rest", ~mask)):
        for metric in ("micro_f1", "macro_f1"):
            expected = [compute(metric, p[:, chosen], targets[:, chosen]) for p in predicted]
            np.testing.assert_allclose(found[name][metric]["values"], expected)
            last = found[name][metric]["last"]
            assert last[0] == pytest.approx(expected[-1] - expected[-2])
            assert last[1] <= last[0] <= last[2]


def test_where_nothing_was_found_yet_it_is_not_known_that_nothing_will_be() -> None:
    targets, _ = world(0, lambda n: 0.5)
    nothing = [sp.csr_matrix(targets.shape, dtype=np.int8) for _ in N]
    found = learning_curve(N.tolist(), nothing, targets, n_now=NOW, n_draws=50)["all"]
    for metric in ("micro_f1", "macro_f1"):
        assert found[metric]["values"] == [0.0] * len(N)
        assert (found[metric]["next"], found[metric]["unknown"]) == (None, UNFOUND)
