"""Threshold rules that were measured against those of `longtail.thresholds`; none won."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit

from longtail import thresholds

Rule = Callable[[np.ndarray, sp.csr_matrix, np.ndarray, np.ndarray], np.ndarray]
CLIP = 1e-7
ITERATIONS = 20
STEP = 2.0  # of an offset in one iteration, at most


def _project(objective: str) -> Rule:
    def rule(
        scores: np.ndarray, targets: sp.csr_matrix, _groups: np.ndarray, _folds: np.ndarray
    ) -> np.ndarray:
        return thresholds.tune(scores, targets, objective=objective)

    return rule


def per_group(
    scores: np.ndarray, targets: sp.csr_matrix, groups: np.ndarray, _folds: np.ndarray
) -> np.ndarray:
    """The micro-F1 optimum of each group of labels; `global` for a group without a positive."""
    found = thresholds.tune(scores, targets)
    for name in np.unique(groups):
        columns = np.flatnonzero(groups == name)
        if targets[:, columns].nnz:
            found[columns] = thresholds.tune(scores[:, columns], targets[:, columns])
    return found


def per_label_f1(
    scores: np.ndarray, targets: sp.csr_matrix, groups: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """The best F1 of each label alone (SCut; Yang 2001)."""
    return per_group(scores, targets, np.arange(scores.shape[1]), folds)


def micro_macro(
    scores: np.ndarray, targets: sp.csr_matrix, _groups: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Lin & Lin 2023, as in LibMultiLabel: one cut per fold, averaged.

    From frequent to rare labels, each fold takes the cut with the best sum of running micro-F1 and
    of the label's F1 over the number of labels so far. Only folds count that have a positive of
    the label, scored by a model that has learned it; without one, the label takes `global`'s.
    """
    z, by_label = logits(scores), targets.tocsc()
    support = np.diff(by_label.indptr)
    found = thresholds.tune(scores, targets)
    tp, n_pred, n_pos = 0, 0, 0
    for rank, label in enumerate(np.argsort(-support, kind="stable"), start=1):
        positive = np.zeros(len(z), bool)
        positive[by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]] = True
        usable = [fold for fold in np.unique(folds[positive]) if positive[folds != fold].any()]
        cuts, counts = [], np.zeros(2, int)
        for fold in usable:
            order = np.argsort(z[folds == fold, label])
            values, truth = z[folds == fold, label][order], positive[folds == fold][order]
            left = truth.sum() - np.concatenate([[0], np.cumsum(truth)])
            kept = len(values) - np.arange(len(values) + 1)
            own = 2 * left / (kept + truth.sum())
            running = 2 * (left + tp) / (kept + truth.sum() + n_pred + n_pos)
            cut = len(own) - 1 - int(np.argmax((running + own / rank)[::-1]))
            edges = np.concatenate([[values[0] - 1e-6], values, [values[-1] + 1e-6]])
            cuts.append((edges[cut] + edges[cut + 1]) / 2)
            counts += [left[cut], kept[cut]]
        if cuts:
            found[label] = expit(np.mean(cuts))
            tp, n_pred, n_pos = tp + counts[0], n_pred + counts[1], n_pos + support[label]
    return found


def plug_in(
    scores: np.ndarray, targets: sp.csr_matrix, _groups: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """F*/2 on calibrated scores (Lipton et al. 2014), F* the best expected F1 of each label.

    Labels with positives in one fold alone, whose model has not learned them, take `global`'s.
    """
    slope, shift = calibrated(scores, targets)
    p = np.sort(expit(slope * logits(scores) + shift), axis=0)[::-1]
    total = np.cumsum(p, axis=0)
    best = (2 * total / (np.arange(1, len(p) + 1)[:, None] + total[-1])).max(axis=0)
    found = expit((logit(np.clip(best / 2, CLIP, 0.5)) - shift) / slope)
    in_folds = np.array([targets[folds == fold].sum(axis=0).A1 > 0 for fold in np.unique(folds)])
    everywhere = thresholds.tune(scores, targets)
    return np.where(in_folds.sum(axis=0) > 1, found, everywhere)


def calibrated(scores: np.ndarray, targets: sp.csr_matrix) -> tuple[float, np.ndarray]:
    """The slope, and each label's shift, of p = σ(slope · logit(score) + shift).

    The shifts are one for all labels plus one of each label with a standard normal prior, so a
    label with little evidence stays near the others. Newton's method on the log posterior.
    """
    z = logits(scores)
    n_pos = targets.sum(axis=0).A1.astype(float)
    observed = targets.multiply(z).sum()
    slope, shared, own = 1.0, 0.0, np.zeros(z.shape[1])
    for _ in range(ITERATIONS):
        p = expit(slope * z + shared + own)
        weight = p * (1 - p)
        weight_z = weight * z
        bottom = weight.sum(axis=0) + 1
        cross = np.stack([weight_z.sum(axis=0), weight.sum(axis=0)])
        top = np.array([[(weight_z * z).sum(), cross[0].sum()], [cross[0].sum(), cross[1].sum()]])
        of_own = n_pos - p.sum(axis=0) - own
        of_both = np.array([observed - (p * z).sum(), n_pos.sum() - p.sum()])
        step = np.linalg.solve(top - (cross / bottom) @ cross.T, of_both - cross / bottom @ of_own)
        move = (of_own - step @ cross) / bottom
        slope, shared = slope + step[0], shared + step[1]
        own = own + np.clip(move, -STEP, STEP)
        if max(np.abs(step).max(), np.abs(move).max()) < 1e-4:
            break
    return slope, shared + own


def logits(scores: np.ndarray) -> np.ndarray:
    return logit(np.clip(scores.astype(np.float64), CLIP, 1 - CLIP))


RULES: dict[str, Rule] = {
    "global": _project("global"),
    "per_label": _project("per_label"),
    "per group": per_group,
    "best F1 of each label": per_label_f1,
    "micro + macro, folds averaged": micro_macro,
    "F*/2, calibrated": plug_in,
}
