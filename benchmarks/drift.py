"""How often the drift monitor raises an alarm: without drift, and with shifts of known size.

Run in the project's root after `dvc repro`, whose artifacts are read:

    python -m benchmarks.drift alarms     # deliveries without drift: how often is there an alarm?
    python -m benchmarks.drift power      # shifts of known size: how often is it found?

"Before" is how drift was judged until 0.1.0: PSI with half a document added to every bin, minus
(b − 1)(1/n + 1/m), against the limit; the reference is train and val, that of the top score 64 test
documents. Deliveries are whole groups (source packages), drawn at random.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import beta

from components._formats.corpus import read_corpus
from components._formats.json_file import read_json
from components._frame.params import load_params
from components._registry import evidence
from components._registry.reference import units_of
from components.drift import Params, limits
from longtail import drift
from longtail.drift import monitor as kinds
from longtail.drift import words
from longtail.drift.words import lengths
from longtail.evaluation.metrics import apply_thresholds
from longtail.label_matrix import encode, vocabulary

SIZES, TRUE_SIZES = (50, 200, 1000), (0.1, 0.31)
N_SAMPLE = 64  # documents of the former reference of the top score
Rng = np.random.Generator


class Material:
    """The default corpus, the model's answers on its test documents, and the groups of both."""

    def __init__(self) -> None:
        self.params = load_params("drift", Params)
        frame = read_corpus(evidence.CORPUS)
        self.texts = frame["text"].tolist()
        self.labels = vocabulary(frame["labels"])
        self.targets = encode(frame["labels"].tolist(), self.labels)
        self.units = units_of(frame)
        row = {identifier: i for i, identifier in enumerate(frame["id"])}
        test, _ = evidence.test_scores()
        self.test, self.val = test, evidence.val_scores()
        self.thresholds = np.asarray(
            read_json(evidence.THRESHOLDS)["models"]["model"]["thresholds"]
        )
        self.test_rows = np.array([row[identifier] for identifier in test.ids])
        self.predicted = apply_thresholds(test.scores, self.thresholds)
        self.top = np.asarray(test.scores).max(axis=1).astype(float)
        self.n_predicted = np.diff(self.predicted.indptr)
        seen = np.ones(len(frame), dtype=bool)
        seen[self.test_rows] = False
        self.seen = np.flatnonzero(seen)
        self._remember_words()
        hashed = [evidence.hashed(identifier) for identifier in test.ids]
        self.sample = np.argsort(hashed)[:N_SAMPLE]

    def _remember_words(self) -> None:
        """Count the words of every text once, not in every trial."""
        row = {text: i for i, text in enumerate(self.texts)}
        counted, n_words = words._counted(self.texts), lengths(self.texts)
        words._counted = lambda texts: counted[[row[text] for text in texts]]
        kinds.lengths = lambda texts: n_words[[row[text] for text in texts]]

    def documents(self, rows: np.ndarray, units: np.ndarray | None = None) -> drift.Documents:
        """The documents in these rows of the corpus."""
        texts = [self.texts[row] for row in rows.tolist()]
        return drift.Documents(
            texts, self.targets[rows], self.units[rows] if units is None else units
        )

    def answers(self, rows: np.ndarray, units: np.ndarray | None = None) -> drift.Answers:
        """The answers to these test documents, numbered as in the test scores."""
        own = self.units[self.test_rows[rows]] if units is None else units
        return drift.Answers(self.top[rows], self.n_predicted[rows], own)


class Groups:
    """Rows by group, and deliveries of whole groups."""

    def __init__(self, units: np.ndarray) -> None:
        self.number = np.unique(units, return_inverse=True)[1]
        self.order = np.argsort(self.number, kind="stable")
        self.size = np.bincount(self.number)
        self.start = np.concatenate([[0], np.cumsum(self.size)])

    def without_drift(self, n_docs: int, rng: Rng) -> np.ndarray:
        """Rows of groups drawn without replacement until there are `n_docs` documents."""
        return self._rows(rng.permutation(len(self.size)), n_docs)[0]

    def shifted(self, n_docs: int, weights: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        """Rows and units of groups drawn with replacement, with probability `weights`."""
        return self._rows(rng.choice(len(self.size), n_docs, p=weights), n_docs)

    def _rows(self, groups: np.ndarray, n_docs: int) -> tuple[np.ndarray, np.ndarray]:
        groups = groups[: np.searchsorted(np.cumsum(self.size[groups]), n_docs) + 1]
        parts = [self.order[self.start[g] : self.start[g + 1]] for g in groups]
        return np.concatenate(parts), np.repeat(np.arange(len(groups)), self.size[groups])

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of `values` `(n_docs,)` over each group."""
        return np.bincount(self.number, weights=values) / self.size


def conventional(reference: sp.csr_matrix, new: sp.csr_matrix) -> float:
    """PSI as it was measured before, from counts of both sides per document and bin."""
    counted = np.array([np.asarray(side.sum(axis=0)).ravel() for side in (reference, new)]) + 0.5
    q, p = counted / counted.sum(axis=1, keepdims=True)
    chance = (len(p) - 1) * (1 / counted[0].sum() + 1 / counted[1].sum())
    return float(max(0.0, np.sum((p - q) * np.log(p / q)) - chance))


def before(material: Material, rows: np.ndarray, tested: np.ndarray | None) -> dict[str, bool]:
    """Which distributions exceeded the limit, as judged before."""
    old, new = material.documents(material.seen), material.documents(rows)
    sides = [old.targets, new.targets]
    values = {
        "words_per_document": [kinds.lengths(old.texts), kinds.lengths(new.texts)],
        "labels_per_document": [np.diff(side.indptr) for side in sides],
    }
    if tested is not None:
        values["top_score"] = [material.top[material.sample], material.top[tested]]
    matrices = {name: _deciles(*pair) for name, pair in values.items()}
    matrices["label_prevalence"] = (sides[0], sides[1])
    pairs = kinds._most_frequent(*(kinds._pairs(side) for side in sides))
    n_old = sides[0].shape[0]
    matrices["label_pairs"] = (pairs[:n_old], pairs[n_old:])
    limit = material.params.min_psi
    return {name: conventional(*pair) > limit for name, pair in matrices.items()}


def _deciles(reference: np.ndarray, new: np.ndarray) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, 11)[1:-1]))
    made = []
    for side in (reference, new):
        column = np.searchsorted(edges, side, side="right")
        cells = (np.ones(len(side)), (np.arange(len(side)), column))
        made.append(sp.csr_matrix(cells, (len(side), len(edges) + 1)))
    return made[0], made[1]


def after(
    material: Material,
    reference: np.ndarray,
    rows: np.ndarray,
    units: np.ndarray | None,
    answers: tuple[drift.Answers, drift.Answers] | None,
    seed: int,
    n_draws: int,
) -> dict[str, bool]:
    """Which distributions raised an alarm, as judged now, and whether any did (`any`)."""
    alpha = material.params.alpha
    measured = drift.measure(
        material.documents(reference),
        material.documents(rows, units),
        material.labels,
        answers,
        alpha=alpha,
        n_draws=n_draws,
        seed=seed,
    )
    found = drift.alarms(measured, limits(material.params), alpha=alpha)
    named = {name: any(name in alarm for alarm in found) for name in measured["psi"]}
    chance = any(row["q"] <= alpha for row in measured["psi"].values())
    return named | {"any": bool(found), "any shift that is not chance": chance}


def rate(hits: int, trials: int) -> str:
    """A rate with its exact (Clopper-Pearson) 95% interval, in percent."""
    low = beta.ppf(0.025, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, trials - hits) if hits < trials else 1.0
    return f"{100 * hits / trials:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


def alarms(trials: int, n_draws: int, sizes: list[int]) -> None:
    """Deliveries of test documents, against all others: no drift."""
    material = Material()
    groups = Groups(material.units[material.test_rows])
    every = np.arange(len(material.texts))
    rows = []
    for n_docs in sizes:
        rng = np.random.default_rng(n_docs)
        hits: dict[tuple[str, str], int] = {}
        for trial in track(range(trials), f"{n_docs} documents", transient=True):
            tested = groups.without_drift(n_docs, rng)
            new = material.test_rows[tested]
            rest = np.setdiff1d(np.arange(len(material.test_rows)), tested)
            pair = (material.answers(rest), material.answers(tested))
            now = after(material, np.setdiff1d(every, new), new, None, pair, trial, n_draws)
            then = before(material, new, tested)
            then["any"] = any(then.values())
            for when, found in (("before", then), ("after", now)):
                for name, hit in found.items():
                    hits[name, when] = hits.get((name, when), 0) + hit
        for name in dict.fromkeys(name for name, _ in hits):
            shown = [
                rate(hits[name, when], trials) if (name, when) in hits else "–"
                for when in ("before", "after")
            ]
            rows.append([str(n_docs), name, *shown])
    show(f"Alarms without drift, % of {trials}", ["documents", "alarm", "before", "after"], rows)


def _tilt(
    groups: Groups, features: sp.csr_matrix, direction: np.ndarray, size: float
) -> np.ndarray:
    """Weights of groups whose documents' features have a true PSI of `size`.

    Args:
        groups: of the documents.
        features: counts `(n_docs, n_bins)`.
        direction: `(n_docs,)` which documents become more frequent.
        size: PSI against the documents without weights.
    """
    n_groups = len(groups.size)
    member = sp.csr_matrix(
        (np.ones(len(groups.number)), (groups.number, np.arange(len(groups.number))))
    )
    summed = (member @ features).tocsr()
    lean = groups.means(direction)

    def weights(strength: float) -> np.ndarray:
        made = np.exp(strength * (lean - lean.max()))
        return made / made.sum()

    def shares(of: np.ndarray) -> np.ndarray:
        made = np.asarray(summed.T @ of).ravel()
        return made / made.sum()

    q = shares(np.full(n_groups, 1 / n_groups))

    def psi(strength: float) -> float:
        p = shares(weights(strength))
        both = (p > 0) & (q > 0)
        return float(((p - q)[both] * np.log(p[both] / q[both])).sum())

    low, high = 0.0, 1.0
    while psi(high) < size:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if psi(middle) < size else (low, middle)
    return weights(low)


def power(trials: int, n_draws: int, sizes: list[int]) -> None:
    """Shifts of known size, of label prevalence and of the top score."""
    material = Material()
    every = np.arange(len(material.texts))
    rng = np.random.default_rng(0)
    groups, tested = Groups(material.units), Groups(material.units[material.test_rows])
    lean = material.targets @ rng.normal(size=len(material.labels))
    top = _deciles(material.top, material.top)[0]
    columns = ["true PSI", "documents", "labels before", "after", "top score before", "after"]
    rows: list[list[str]] = []
    for size in TRUE_SIZES:
        labels = _tilt(groups, material.targets, lean, size)
        scores = _tilt(tested, top, -material.top, size)
        for n_docs in sizes:
            hits = dict.fromkeys([(n, w) for n in (0, 1) for w in (0, 1)], 0)
            for trial in track(range(trials), f"PSI {size}, {n_docs}", transient=True):
                new, units = groups.shifted(n_docs, labels, rng)
                now = after(material, every, new, units, None, trial, n_draws)
                hits[0, 1] += now["label_prevalence"]
                hits[0, 0] += before(material, new, None)["label_prevalence"]
                new, units = tested.shifted(n_docs, scores, rng)
                everyone = material.answers(np.arange(len(material.test_rows)))
                pair = (everyone, material.answers(new, units))
                now = after(material, every, material.test_rows[new], units, pair, trial, n_draws)
                hits[1, 1] += now["top_score"]
                hits[1, 0] += before(material, material.test_rows[new], new)["top_score"]
            shown = [rate(hits[kind, when], trials) for kind in (0, 1) for when in (0, 1)]
            rows.append([str(size), str(n_docs), *shown])
            show(f"Shifts found, % of {trials}", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["alarms", "power"])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=199, help="of each null distribution")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of the deliveries")
    arguments = parser.parse_args()
    started = time.perf_counter()
    action = {"alarms": alarms, "power": power}[arguments.what]
    action(arguments.trials, arguments.draws, arguments.sizes)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
