"""What is served, tuned on val, against a search that shares no code with it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit
from sklearn.metrics import f1_score

from longtail.models.blending import WEIGHTS
from longtail.models.served import Rule, tune_served

RULE = Rule(objective="global", value=0.5, min_support=1, blend=True)
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((60, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.int8)
MODEL, BASELINE = (
    expit(3.0 * TRUTH - 1.5 + RNG.normal(0, noise, TRUTH.shape)).astype(np.float32)
    for noise in (1.6, 2.0)
)


def f1(predicted: np.ndarray) -> dict[str, float]:
    micro, macro = (
        f1_score(TRUTH, predicted, average=average, zero_division=0)
        for average in ("micro", "macro")
    )
    return {"micro_f1": micro, "macro_f1": macro, "mean_f1": (micro + macro) / 2}


def mixed(weight: float) -> np.ndarray:
    return expit((1 - weight) * logit(MODEL) + weight * logit(BASELINE)).astype(np.float32)


def tuned(rule: Rule, **options: str):
    return tune_served(MODEL, BASELINE, sp.csr_matrix(TRUTH), rule, **options)


@cache
def best_cuts() -> dict[float, dict[str, float]]:
    """F1 at each weight's cut with the best micro-F1, the highest of equally good ones."""
    found = {}
    for weight in WEIGHTS:
        scores = mixed(weight)
        cuts = np.unique(scores)
        micro = [f1_score(TRUTH, scores >= cut, average="micro") for cut in cuts]
        found[weight] = f1(scores >= cuts[len(cuts) - 1 - int(np.argmax(micro[::-1]))])
    return found


@pytest.mark.parametrize("objective", ["micro_f1", "macro_f1", "mean_f1"])
def test_weight_and_threshold_are_the_best_of_all(objective: str) -> None:
    """For each weight the cut with the best micro-F1; of the weights the best by the objective."""
    by_weight = best_cuts()
    best = max(by_weight.values(), key=lambda found: found[objective])
    found = tuned(RULE, objective=objective)
    assert found.val == pytest.approx(best, abs=1e-12)
    assert 0 < found.blend_weight < 0.9
    assert by_weight[found.blend_weight][objective] == pytest.approx(best[objective])
    assert f1(mixed(found.blend_weight) >= found.thresholds) == pytest.approx(found.val)


@pytest.mark.parametrize("objective", ["per_label", "fixed"])
def test_the_weight_is_the_best_at_the_thresholds_in_use(objective: str) -> None:
    rule = replace(RULE, objective=objective, value=0.3)
    at = {
        weight: tune_served(
            mixed(weight), BASELINE, sp.csr_matrix(TRUTH), replace(rule, blend=False)
        )
        for weight in WEIGHTS
    }
    found = tuned(rule)
    assert found.val["mean_f1"] == max(other.val["mean_f1"] for other in at.values())
    assert found.thresholds.tolist() == at[found.blend_weight].thresholds.tolist()
    assert found.blend_weight != tuned(RULE).blend_weight, "the rule makes a difference here"
    if objective == "fixed":
        assert found.thresholds.tolist() == [0.3] * 4


def test_without_a_blend_the_baseline_is_not_looked_at() -> None:
    rule = replace(RULE, blend=False)
    found = tuned(rule)
    other = tune_served(MODEL, 1 - BASELINE, sp.csr_matrix(TRUTH), rule)
    assert found.blend_weight == other.blend_weight == 0.0
    assert found.val == other.val
