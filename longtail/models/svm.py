"""Linear SVMs of many labels at once: dual coordinate descent with its inner loop over labels.

With sₖ = 1 where document k has a label and −1 where not, the hyperplane (w, b) of the label is the
minimum of ½ |w|² + ½ b² + Σₖ C cₖ max(0, 1 − sₖ (w·xₖ + b))²: the objective of LIBLINEAR, in which
the intercept is the weight of a feature that is 1 in every document, and cₖ is what the document
counts for the label. Its dual asks for one αₖ ≥ 0 per document, and (w, b) = Σₖ αₖ sₖ (xₖ, 1).
Nearly every document has αₖ > 0 for every label, so a solver that takes the labels one after the
other reads the same rows again for each of them.

Sources: Hsieh et al. 2008, "A dual coordinate descent method for large-scale linear SVM",
Algorithm 1, as in Fan et al. 2008, "LIBLINEAR"; Mangasarian & Musicant 1999, "Successive
overrelaxation for support vector machines".
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from longtail.splitting.compiling import compiled

# Steps are this much longer than to the minimum along their coordinate. Any value below 2
# converges; 1.5 takes a third fewer sweeps than 1 at C = 1 and C = 4.
OVER_RELAXATION = 1.5
MOST_SWEEPS = 1000


def hyperplanes(
    x: sp.csr_matrix,
    targets: np.ndarray,
    cost: float,
    tolerance: float = 1e-3,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit every label; the result of one depends neither on the others nor on the machine.

    Args:
        x: documents `(n_docs, n_terms)`, float32 or float64, in which all is computed.
        targets: 0/1 `(n_docs, n_labels)` int8.
        cost: C, above 0.
        tolerance: a label is done when a whole sweep over the documents met no αₖ that was further
            from the minimum along its coordinate than this, in units of the gradient.
        weights: cₖ of each label, `(n_docs, n_labels)`, above 0; None: 1.

    Returns:
        Coefficients `(n_terms, n_labels)` and intercepts `(n_labels,)`, of the dtype of `x`.

    Raises:
        ValueError: a value of `x` is NaN or infinite, or a weight is not above 0.

    Warns:
        ConvergenceWarning: labels were not done after 1,000 sweeps.
    """
    # The compiled loop checks nothing: NaN would pass for done, columns would be read as rows.
    x = check_array(
        x,
        accept_sparse="csr",
        dtype=(np.float32, np.float64),
        ensure_min_samples=0,
        ensure_min_features=0,
    )
    n_docs, n_labels = targets.shape
    signs = 2 * targets - 1
    diagonal = np.asarray(x.multiply(x).sum(axis=1), dtype=x.dtype).ravel() + 1
    alpha = np.zeros(targets.shape, x.dtype)
    rest = np.full((1, n_labels), 0.5 / cost, x.dtype)
    if weights is not None:
        if not (weights > 0).all():  # nor with NaN
            raise ValueError("weights must be above 0: an SVM cannot learn from what counts 0.")
        rest = rest / weights.astype(x.dtype)
    planes = np.zeros((x.shape[1] + 1, n_labels), x.dtype)  # the last row: intercepts
    found = np.empty_like(planes)
    left = np.arange(n_labels)
    rng = np.random.default_rng(0)
    for _ in range(MOST_SWEEPS):
        order = rng.permutation(n_docs)
        worst = _sweep(x.indptr, x.indices, x.data, diagonal, rest, order, signs, alpha, planes)
        more = worst > tolerance
        if len(left) and more.all():
            continue
        found[:, left[~more]] = planes[:, ~more]
        left = left[more]
        if not len(left):
            break
        rest, signs, alpha, planes = (
            np.ascontiguousarray(old[:, more]) for old in (rest, signs, alpha, planes)
        )
    else:
        found[:, left] = planes
        warnings.warn(
            f"{len(left)} SVMs are not at their minimum after {MOST_SWEEPS:,} sweeps over the "
            f"documents at C = {cost:g}; a smaller C is easier to fit.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found[:-1], found[-1]


@compiled
def _sweep(
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    diagonal: np.ndarray,
    rest: np.ndarray,
    order: np.ndarray,
    signs: np.ndarray,
    alpha: np.ndarray,
    planes: np.ndarray,
) -> np.ndarray:
    """Move every document's α once, and `planes` with it.

    Args:
        indptr: with `indices` and `data`, the documents in CSR form.
        indices: see there.
        data: see there.
        diagonal: `(n_docs,)` |xₖ|² + 1.
        rest: `(n_docs, n_labels)`, or `(1, n_labels)` for all documents: 1 / (2C), the slope of the
            loss in α.
        order: `(n_docs,)` in which order.
        signs: `(n_docs, n_labels)` ±1.
        alpha: `(n_docs, n_labels)`, changed in place.
        planes: `(n_terms + 1, n_labels)`, changed in place.

    Returns:
        `(n_labels,)` how far any αₖ was from the minimum along its coordinate, times its curvature:
        its gradient, or what of it the bound at 0 leaves.
    """
    bias, n_labels = len(planes) - 1, planes.shape[1]
    each = len(rest) > 1
    worst = np.zeros_like(planes[0])
    step = np.empty_like(worst)
    for k in order:
        for label in range(n_labels):
            step[label] = planes[bias, label]
        for e in range(indptr[k], indptr[k + 1]):
            term, x = indices[e], data[e]
            for label in range(n_labels):
                step[label] += x * planes[term, label]
        for label in range(n_labels):
            old, sign, slope = alpha[k, label], signs[k, label], rest[k * each, label]
            curvature = diagonal[k] + slope
            gradient = sign * step[label] - 1 + slope * old
            worst[label] = max(worst[label], abs(min(gradient, curvature * old)))
            new = max(old - OVER_RELAXATION * gradient / curvature, 0)
            alpha[k, label] = new
            step[label] = sign * (new - old)
        for label in range(n_labels):
            planes[bias, label] += step[label]
        for e in range(indptr[k], indptr[k + 1]):
            term, x = indices[e], data[e]
            for label in range(n_labels):
                planes[term, label] += x * step[label]
    return worst
