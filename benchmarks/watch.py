"""The champion's honest score night after night, and F1 without labels, on the default corpus.

Run in the project's root after `dvc repro`, whose artifacts are read:

    python -m benchmarks.watch nights     # chains of nights: false alarms, and nights to an alarm
    python -m benchmarks.watch estimates  # micro-F1 without labels, against the truth

Nights draw groups of test documents with replacement, so that the true F1 is that of the test set.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from scipy.special import logsumexp
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from benchmarks.drift import SIZES, Groups, Material, Rng, rate, show
from components._formats.corpus import read_corpus
from components._formats.json_file import read_json
from components._frame.params import load_params
from components._registry import evidence
from components.drift import Params
from longtail.drift.words import lengths
from longtail.evaluation.estimated_f1 import (
    Calibration,
    calibrate,
    estimated_f1,
    expected_counts,
)
from longtail.evaluation.metrics import Counts, apply_thresholds, compute, counts
from longtail.evaluation.watch import MIN_UNITS, log_e_values

NIGHTS, PER_NIGHT = 500, 20
N_FALLS = 300  # chains with a fall: enough for a median


def nights(trials: int) -> None:
    """The first alarm in chains of nights, drawn from the test documents of the model."""
    material = Material()
    own = counts(material.predicted, material.test.targets, axis=1)
    groups = Groups(material.units[material.test_rows])
    units = Counts(*(np.bincount(groups.number, weights=part) for part in own))
    truth = 2 * units.tp.sum() / (units.n_pred.sum() + units.n_pos.sum())
    rows = []
    for above in (0.0, 0.005, 0.01):
        found = _chains(units, units, 0, truth - above, trials)
        late = rate(int(np.isfinite(found).sum()), trials)
        rows.append([f"{100 * above:.1f}", late])
    title = f"Any false alarm in {NIGHTS} nights of {PER_NIGHT}, % of {trials} chains"
    show(title, ["true score above the limit by, points", "alarms"], rows)
    worse = _dropped(units, truth - 0.05)
    rows = []
    for per_night in (PER_NIGHT, 200):
        for good in (0, 50, 100):
            for loss in (0.0, 0.01, 0.02):
                found = (
                    _chains(units, worse, good, truth - loss, min(trials, N_FALLS), per_night)
                    - good
                )
                real = found[found > 0]
                parts = np.quantile(real, [0.5, 0.9])
                share = rate(int(np.isfinite(real).sum()), len(real))
                rows.append(
                    [str(per_night), str(good), f"{100 * loss:.0f}", *(f"{v:.0f}" for v in parts),
                     share]
                )  # fmt: skip
    columns = ["documents a night", "good nights before", "max_loss", "median", "90%", "found, %"]
    show("Nights from a drop of 5 points to the alarm", columns, rows)


def _chains(
    good: Counts, bad: Counts, n_good: int, limit: float, trials: int, per_night: int = PER_NIGHT
) -> np.ndarray:
    """The night of the first alarm of each chain, infinite without one."""
    params = load_params("drift", Params).watch
    rng = np.random.default_rng(0)
    n_units = NIGHTS * PER_NIGHT if per_night == PER_NIGHT else 200 * per_night
    t = np.arange(per_night, n_units + 1, per_night)
    first = np.full(trials, np.inf)
    for chain in range(trials):
        rows = rng.integers(len(good.tp), size=n_units)
        x = np.concatenate(
            [
                2 * side.tp[part] - limit * (side.n_pred[part] + side.n_pos[part])
                for side, part in (
                    (good, rows[: n_good * per_night]), (bad, rows[n_good * per_night :]),
                )
            ]
        )  # fmt: skip
        evidence = logsumexp(log_e_values(-x, t, params.alpha), axis=1)
        alarms = np.flatnonzero((evidence >= -np.log(params.alpha)) & (t >= MIN_UNITS))
        if len(alarms):
            first[chain] = alarms[0] + 1
    return first


def _dropped(units: Counts, aim: float) -> Counts:
    """The counts after random true positives are no longer predicted, until F1 is `aim`."""
    uniform = [np.random.default_rng(i).random(int(n)) for i, n in enumerate(units.tp)]

    def lost(share: float) -> Counts:
        gone = np.array([(draws < share).sum() for draws in uniform])
        return Counts(units.tp - gone, units.n_pred - gone, units.n_pos)

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        made = lost(middle)
        f1 = 2 * made.tp.sum() / (made.n_pred.sum() + made.n_pos.sum())
        low, high = (middle, high) if f1 > aim else (low, middle)
    return lost(low)


def _platt(scores: np.ndarray, targets: sp.csr_matrix) -> Calibration:
    """A logistic function of the score's logit, at 1,000 knots."""
    knots = np.linspace(1e-6, 1 - 1e-6, 1000)
    values = np.clip(scores.ravel().astype(float), 1e-6, 1 - 1e-6)
    model = LogisticRegression(C=1e6).fit(_logit(values)[:, None], targets.toarray().ravel())
    return Calibration(knots.tolist(), model.predict_proba(_logit(knots)[:, None])[:, 1].tolist())


def _logit(values: np.ndarray) -> np.ndarray:
    return np.log(values / (1 - values))


def _exact(scores: np.ndarray, targets: sp.csr_matrix) -> Calibration:
    """Isotonic regression on every score, without bins."""
    model = IsotonicRegression(out_of_bounds="clip")
    model.fit(scores.ravel().astype(float), targets.toarray().ravel())
    return Calibration(model.X_thresholds_.tolist(), model.y_thresholds_.tolist())


FITS: dict[str, Callable[[np.ndarray, sp.csr_matrix], Calibration]] = {
    "isotonic": calibrate,
    "isotonic, no bins": _exact,
    "Platt": _platt,
}


def estimates() -> None:
    """Mean absolute error in points: calibrated on half of val (the choice), then on all of it."""
    material = Material()
    groups = np.asarray(read_json(evidence.FREQUENCIES)["groups"])
    test, val = material.test, material.val
    rng = np.random.default_rng(0)
    order = rng.permutation(len(val.ids))
    half, rest = order[: len(order) // 2], order[len(order) // 2 :]
    parts = {
        "val": (val, rest, np.asarray(val.scores)[half], val.targets[half]),
        "test": (test, np.arange(len(test.ids)), np.asarray(val.scores), val.targets),
    }
    text = dict(zip(read_corpus(evidence.CORPUS)["id"], material.texts, strict=True))
    for part, (scored, rows, fit_scores, fit_targets) in parts.items():
        scores, targets = np.asarray(scored.scores)[rows], scored.targets[rows]
        predicted = apply_thresholds(scores, material.thresholds)
        expected = {}
        for per_group in (False, True):
            for name, fit in FITS.items():
                columns = [groups == g for g in np.unique(groups)] if per_group else [groups != ""]
                pieces = [
                    expected_counts(
                        scores[:, c], predicted[:, c], fit(fit_scores[:, c], fit_targets[:, c])
                    )
                    for c in columns
                ]
                title = f"{name}, per label group" if per_group else name
                expected[title] = Counts(*(sum(piece) for piece in zip(*pieces, strict=True)))
        n_words = lengths([text[scored.ids[row]] for row in rows.tolist()])
        table = []
        for subset, chosen in _subsets(n_words, targets, groups, rng).items():
            truth = [compute("micro_f1", predicted[rows], targets[rows]) for rows in chosen]
            row = [subset, str(len(chosen)), f"{np.mean([len(rows) for rows in chosen]):.0f}"]
            for whole in expected.values():
                errors = [
                    100 * (estimated_f1(Counts(*(piece[rows] for piece in whole))) - real)
                    for rows, real in zip(chosen, truth, strict=True)
                ]
                row.append(f"{np.mean(np.abs(errors)):.1f} ({np.mean(errors):+.1f})")
            table.append(row)
        show(
            f"{part}: mean absolute error in points (bias)",
            ["documents", "sets", "size", *expected],
            table,
        )


def _subsets(
    n_words: np.ndarray, targets: sp.csr_matrix, groups: np.ndarray, rng: Rng
) -> dict[str, list[np.ndarray]]:
    """Sets of rows: drawn at random, and shifted ones."""
    n_docs, n_labels = targets.shape[0], np.diff(targets.indptr)
    found = {
        f"random {size}": [rng.choice(n_docs, size, replace=False) for _ in range(200)]
        for size in SIZES
    }
    found["all"] = [np.arange(n_docs)]
    found["shortest quarter"] = [np.argsort(n_words, kind="stable")[: n_docs // 4]]
    found["longest quarter"] = [np.argsort(n_words, kind="stable")[-n_docs // 4 :]]
    frequent = np.argsort(-np.asarray(targets.sum(axis=0)).ravel())[:60]
    columns = targets.tocsc()
    found["those of one label, 60 labels"] = [
        columns.indices[columns.indptr[i] : columns.indptr[i + 1]] for i in frequent
    ]
    tail = np.asarray(targets[:, groups == "TAIL"].sum(axis=1)).ravel() > 0
    found["with a TAIL label"] = [np.flatnonzero(tail)]
    found["with one label"] = [np.flatnonzero(n_labels == 1)]
    found["with six labels or more"] = [np.flatnonzero(n_labels >= 6)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["nights", "estimates"])
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    nights(arguments.trials) if arguments.what == "nights" else estimates()
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
