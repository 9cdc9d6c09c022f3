"""Whom to believe: majority against Dawid and Skene, on simulated annotators with known truth.

python -m benchmarks.consensus             # scenarios, variants, reliability
python -m benchmarks.consensus grid        # gain by how careful and how careless the annotators are
python -m benchmarks.consensus sizes       # time and peak memory: 100,000 documents × 1,000 labels

The truth is that of the synthetic corpus (14,354 documents, 124 labels). An annotator leaves out
each true label with probability `miss`, and adds a wrong one to a share `extra` of the documents,
drawn by the frequency of labels, or uniformly for a share `uniform` of the errors.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from benchmarks.drift import show
from benchmarks.over_seeds import interval
from longtail.annotation import consensus
from longtail.annotation.consensus import dawid_skene, decide, majority
from longtail.annotation.reliability import reliability
from longtail.corpora.synthetic import N_DOCS, N_LABELS, synthetic_corpus
from longtail.evaluation.metrics import compute
from longtail.frequency import class_frequencies
from longtail.label_matrix import encode, vocabulary
from longtail.validation.agreement import Judgments

SEEDS, TAIL_SHARE = range(5), 0.4
CHANGED = 3  # of the more frequent half of the labels, every third is used differently later


@dataclass(frozen=True)
class Habit:
    """How one annotator works.

    Attributes:
        miss: chance to leave out a true label.
        extra: share of documents that get a wrong label.
        changed: from the middle of the year on, the annotator gives another label in place of
            every third of the more frequent half.
        tail: whether labels of TAIL are given at all.
    """

    miss: float
    extra: float
    changed: bool = False
    tail: bool = True


# Two careful annotators share 55% of the labels that they give (Jaccard); professional indexers
# of PsycINFO 49% (Leininger 2000).
CAREFUL, CARELESS = Habit(0.25, 0.1), Habit(0.5, 0.4)
GUIDELINE, NO_TAIL = replace(CAREFUL, changed=True), replace(CAREFUL, tail=False)
POOL = (CAREFUL, CAREFUL, CARELESS, GUIDELINE, NO_TAIL)


@dataclass(frozen=True)
class Scenario:
    """Who annotates, how many of them per document (0: one to all), and the uniform errors."""

    habits: Sequence[Habit]
    per_doc: int
    uniform: float = 0.0


SCENARIOS = {
    "one careless": Scenario((CAREFUL, CAREFUL, CARELESS), 3),
    "one careless, half of the errors uniform": Scenario((CAREFUL, CAREFUL, CARELESS), 3, 0.5),
    "one careless, all errors uniform": Scenario((CAREFUL, CAREFUL, CARELESS), 3, 1.0),
    "one careless, one to three per document": Scenario((CAREFUL, CAREFUL, CARELESS), 0),
    "one changed the guideline": Scenario((CAREFUL, CAREFUL, GUIDELINE), 3),
    "one never gives TAIL": Scenario((CAREFUL, CAREFUL, NO_TAIL), 3),
    "careless, changed, no TAIL": Scenario((CARELESS, GUIDELINE, NO_TAIL), 3),
    "three of a pool of five": Scenario(POOL, 3),
    "two of a pool of five": Scenario(POOL, 2),
}


@dataclass(frozen=True)
class Simulation:
    """What was annotated, when (0: before, 1: after mid-year), and what is true."""

    truth: sp.csr_matrix
    judgments: Judgments
    half: np.ndarray
    tail: np.ndarray


def simulate(
    scenario: Scenario, seed: int, n_docs: int = N_DOCS, n_labels: int = N_LABELS
) -> Simulation:
    """Let the annotators of a scenario judge the synthetic corpus."""
    _, true = synthetic_corpus(n_docs, n_labels, 0.0, seed)
    lists = list(true.values())
    return annotated(encode(lists, vocabulary(lists)), scenario, seed)


def annotated(truth: sp.csr_matrix, scenario: Scenario, seed: int) -> Simulation:
    """Let the annotators of a scenario judge documents with these true labels."""
    n_docs, n_labels = truth.shape
    rng = np.random.default_rng(seed)
    count = class_frequencies(truth)
    order = np.argsort(-count, kind="stable")
    tail = order[len(order) - round(TAIL_SHARE * len(order)) :]
    half = rng.integers(2, size=n_docs)
    share = (1 - scenario.uniform) * count / count.sum() + scenario.uniform / n_labels
    judged = _who_judges(rng, len(scenario.habits), scenario.per_doc, n_docs)
    given, who = [], []
    for a, habit in enumerate(scenario.habits):
        rows = np.flatnonzero(judged[a])
        given.append(_given(habit, truth[rows].toarray() > 0, half[rows], share, order, rng))
        who.append(np.full(len(rows), a))
    document = np.concatenate([np.flatnonzero(row) for row in judged])
    targets = sp.csr_matrix(np.vstack(given).astype(np.int8))
    judgments = Judgments(document, np.concatenate(who), targets)
    return Simulation(truth, judgments, half[document], tail)


def _who_judges(rng: np.random.Generator, n: int, per_doc: int, n_docs: int) -> np.ndarray:
    rank = rng.random((n, n_docs)).argsort(axis=0).argsort(axis=0)
    return rank < (per_doc or rng.integers(1, n + 1, size=n_docs))


def _given(
    habit: Habit,
    true: np.ndarray,
    half: np.ndarray,
    share: np.ndarray,
    order: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    given = true & (rng.random(true.shape) >= habit.miss)
    careless = np.flatnonzero(rng.random(len(true)) < habit.extra)
    given[careless, rng.choice(len(share), len(careless), p=share)] = True
    if habit.changed:
        before = given.copy()
        for i in range(0, len(order) // 2, CHANGED):
            rows = (half == 1) & before[:, order[i]]
            given[rows, order[i]], given[rows, order[i + 1]] = False, True
    if not habit.tail:
        given[:, order[len(order) - round(TAIL_SHARE * len(order)) :]] = False
    return given


def by_majority(simulation: Simulation) -> sp.csr_matrix:
    """Labels that at least half of a document's annotators gave."""
    return decide(majority(simulation.judgments, simulation.truth.shape[0]))


def by_strict_majority(simulation: Simulation) -> sp.csr_matrix:
    """Labels that more than half of a document's annotators gave."""
    share = majority(simulation.judgments, simulation.truth.shape[0])
    share.data[share.data == 0.5] = 0.49
    return decide(share)


def by_dawid_skene(simulation: Simulation) -> sp.csr_matrix:
    """As `validate.consensus: dawid_skene` does it."""
    return decide(dawid_skene(simulation.judgments, simulation.truth.shape[0]).probability)


def by_period(simulation: Simulation) -> sp.csr_matrix:
    """Each annotator counts as two, before and after mid-year."""
    j = simulation.judgments
    halves = Judgments(j.document, 2 * j.annotator + simulation.half, j.targets)
    return decide(dawid_skene(halves, simulation.truth.shape[0]).probability)


def with_true_rates(simulation: Simulation) -> sp.csr_matrix:
    """The limit: one E step with the rates that the annotators really have."""
    layout = consensus._Layout(simulation.judgments)
    known = np.asarray(simulation.truth[layout.documents[layout.document], layout.label]).ravel()
    member = sp.csr_matrix(
        (np.ones(len(layout.documents)), (layout.kind, np.arange(len(layout.documents))))
    )
    positives = (layout.sets.T @ (member @ simulation.truth[layout.documents])).toarray()
    documents = class_frequencies(simulation.truth[layout.documents]).astype(float)
    sums = consensus._Sums(positives, consensus._hits(layout, known.astype(float)), documents)
    probability, _ = consensus._expect(layout, consensus._rates(layout, sums))
    return decide(layout.matrix(probability, simulation.truth.shape[0]))


@contextmanager
def constants(**values: float):
    """Other constants in `longtail.annotation.consensus`."""
    before = {name: getattr(consensus, name) for name in values}
    vars(consensus).update(values)
    yield
    vars(consensus).update(before)


def patched(**values: float) -> Callable[[Simulation], sp.csr_matrix]:
    """Dawid and Skene with other constants."""

    def decided(simulation: Simulation) -> sp.csr_matrix:
        with constants(**values):
            return by_dawid_skene(simulation)

    return decided


VARIANTS: dict[str, Callable[[Simulation], sp.csr_matrix]] = {
    "majority": by_majority,
    "more than half": by_strict_majority,
    "Dawid-Skene (in use)": by_dawid_skene,
    "per half-year": by_period,
    "hardly any prior": patched(DOCUMENTS=0.1, ERRORS=0.1),
    "one band": patched(BAND=1e9),
    "true rates": with_true_rates,
}


def f1s(simulation: Simulation, found: sp.csr_matrix) -> np.ndarray:
    """Micro-F1, macro-F1 and macro-F1 of TAIL, in points."""
    tail = simulation.tail
    pairs = ("micro_f1", found, simulation.truth), ("macro_f1", found, simulation.truth)
    in_tail = ("macro_f1", found[:, tail], simulation.truth[:, tail])
    return 100 * np.array([compute(name, a, b) for name, a, b in (*pairs, in_tail)])


def compared(scenario: Scenario, variants: Sequence[str], n_docs: int = N_DOCS) -> np.ndarray:
    """`(n_seeds, n_variants, 3)` F1 in points."""
    return np.array(
        [
            [f1s(simulation, VARIANTS[name](simulation)) for name in variants]
            for simulation in (simulate(scenario, seed, n_docs) for seed in SEEDS)
        ]
    )


def scenarios(variants: Sequence[str]) -> None:
    """Every scenario, every variant."""
    for name, scenario in SCENARIOS.items():
        found = compared(scenario, variants)
        rows = [
            [
                variant,
                *(f"{value:.1f}" for value in found[:, v].mean(axis=0)),
                *(interval(found[:, v, m] - found[:, 0, m], 1) for m in (1, 2)),
            ]
            for v, variant in enumerate(variants)
        ]
        head = ["variant", "micro-F1", "macro-F1", "TAIL", "macro gain", "TAIL gain"]
        show(name, head, rows)


def grid() -> None:
    """Macro-F1 of the majority and what is gained over it, one careless of three."""
    rows = []
    for miss in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        cells = []
        for uniform in (0.0, 1.0):
            careful = replace(CAREFUL, miss=miss)
            scenario = Scenario((careful, careful, CARELESS), 3, uniform)
            found = compared(scenario, ("majority", "Dawid-Skene (in use)"))[..., 1]
            cells += [f"{found[:, 0].mean():.1f}", interval(found[:, 1] - found[:, 0], 1)]
        rows.append([f"{miss:.2f}", *cells])
    head = ["miss of the careful", "majority, errors by frequency", "gain", "uniform", "gain"]
    show("Macro-F1, one careless of three", head, rows)


def believed() -> None:
    """Estimated reliability against the true one, twelve annotators of all kinds, three each."""
    rows = []
    for seed in SEEDS:
        rng = np.random.default_rng(100 + seed)
        habits = [Habit(*rng.uniform((0.05, 0.02), (0.6, 0.5))) for _ in range(12)]
        simulation = simulate(Scenario(habits, 3, 0.5), seed)
        judgments, truth = simulation.judgments, simulation.truth
        result = dawid_skene(judgments, truth.shape[0])
        who = judgments.annotator
        estimated = reliability(judgments, result.probability, who)
        true = reliability(judgments, truth.astype(float), who)
        cells = [np.corrcoef(estimated.found, true.found)[0, 1]]
        cells += [np.corrcoef(estimated.right, true.right)[0, 1]]
        cells += [np.abs(estimated.found - true.found).max()]
        cells += [np.abs(estimated.right - true.right).max()]
        member = sp.csr_matrix((np.ones(len(who)), (who, np.arange(len(who)))))
        given = truth[judgments.document]
        positives = (member @ given).toarray()
        hits = (member @ given.multiply(judgments.targets)).toarray()
        enough = positives >= 20
        cells += [np.corrcoef(result.sensitivity[enough], (hits / positives.clip(1))[enough])[0, 1]]
        rows.append([str(seed), *(f"{value:.3f}" for value in cells)])
    head = ["seed", "correlation, found", "right", "largest error, found", "right"]
    show("Reliability, 12 annotators", [*head, "correlation per label (≥ 20 true)"], rows)


def sizes() -> None:
    """100,000 documents × 1,000 labels × 3 judgments by 50 annotators, 3.5 labels each."""
    rng = np.random.default_rng(0)
    n_docs, n_labels, n_annotators = 100_000, 1000, 50
    share = 1 / np.arange(1, n_labels + 1)
    rows = np.repeat(np.arange(3 * n_docs), 4)
    true = rng.choice(n_labels, size=(n_docs, 4), p=share / share.sum())
    columns = np.tile(true, (3, 1)).ravel()
    wrong = rng.random(len(columns)) < 0.2
    columns[wrong] = rng.choice(n_labels, wrong.sum(), p=share / share.sum())
    targets = sp.csr_matrix((np.ones(len(rows), np.int8), (rows, columns)))
    targets.data[:] = 1
    who = rng.random((n_docs, n_annotators)).argpartition(3, axis=1)[:, :3].T.ravel()
    judgments = Judgments(np.tile(np.arange(n_docs), 3), who, targets)
    started = time.process_time()
    tracemalloc.start()  # sees NumPy's arrays
    result = dawid_skene(judgments, n_docs)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    print(f"{seconds:.0f} CPU s, {result.iterations} iterations, {peak / 2**30:.2f} GiB")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["grid"]:
            grid()
        case ["sizes"]:
            sizes()
        case _:
            scenarios(list(VARIANTS))
            believed()
