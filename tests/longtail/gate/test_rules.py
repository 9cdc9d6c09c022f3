"""The gate on small hand-made contests: every verdict and its reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from longtail import gate
from longtail.errors import DataError
from longtail.evaluation.metrics import compute
from longtail.validation.label_history import Fate

N_DOCS, LABELS = 600, ["a", "b", "c", "d"]
GROUPS = ["HEAD", "HEAD", "MEDIUM", "TAIL"]
RULES = gate.Rules(
    objective="micro_f1",
    min_gain=0.0,
    max_micro_loss=0.02,
    max_loss={"HEAD": 0.02, "MEDIUM": 0.03, "TAIL": 0.05},
    floors={"micro_f1": 0.2},
    over_baseline={"micro_f1": 0.0},
    min_shared_labels=0.9,
    min_sample=gate.Sample(docs=100, positives=100, group_positives=30),
    confidence=0.95,
    error_budget=gate.Budget(0.08, 1),
)
KEYS = [str(row) for row in range(N_DOCS)]


def targets(seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix((rng.random((N_DOCS, 4)) < [0.5, 0.4, 0.3, 0.2]).astype(np.int8))


def predictions(wrong: float | list[float], seed: int) -> sp.csr_matrix:
    """The targets with a share of all cells flipped, per label if `wrong` is a list."""
    rng = np.random.default_rng(seed)
    flips = rng.random((N_DOCS, 4)) < wrong
    return sp.csr_matrix(np.abs(targets().toarray() - flips).astype(np.int8))


def contest(
    challenger: float | list[float] = 0.1, champion: float | list[float] | None = 0.1, **fields
) -> gate.Contest:
    held = None
    if champion is not None:
        held = gate.Champion(predictions(champion, 2), LABELS, np.zeros(N_DOCS, dtype=bool))
    made = gate.Contest(
        LABELS, GROUPS, KEYS, targets(), predictions(challenger, 1), predictions(0.4, 3), held
    )
    return replace(made, **fields)


def least(**limits: int) -> gate.Rules:
    return replace(RULES, min_sample=replace(RULES.min_sample, **limits))


def failed(lines: list[gate.Line]) -> list[tuple[str, str]]:
    return [(line.rule, line.slice) for line in lines if line.verdict == gate.FAILED]


def test_better_is_promoted_and_every_rule_leaves_a_line():
    lines = gate.judge(contest(0.05, 0.15), RULES)
    assert gate.passed(lines)
    found = {"floor", "baseline", "labels", "sample", "gain", "micro_loss", "loss"}
    assert {line.rule for line in lines} == found
    gain = next(line for line in lines if line.rule == "gain" and line.verdict == "passed")
    ours = compute("micro_f1", predictions(0.05, 1), targets())
    theirs = compute("micro_f1", predictions(0.15, 2), targets())
    assert (gain.challenger, gain.champion) == (ours, theirs)
    assert gain.difference == pytest.approx(ours - theirs)
    assert 0 < gain.interval[0] < gain.difference < gain.interval[1]
    assert gate.summary(lines) == gain.reason


@pytest.mark.parametrize(("ours", "theirs"), [(0.1, 0.1), (0.15, 0.05)])
def test_equal_and_worse_are_refused_for_lack_of_gain(ours: float, theirs: float):
    assert ("gain", "all") in failed(gate.judge(contest(ours, theirs), RULES))


def test_the_same_predictions_are_no_gain_even_with_a_limit_of_zero():
    same = predictions(0.1, 2)
    lines = gate.judge(replace(contest(), challenger=same), RULES)
    gain = next(line for line in lines if line.rule == "gain")
    assert gain.interval == (0.0, 0.0)
    assert gain.verdict == gate.FAILED


def test_better_overall_but_worse_on_one_group_is_refused():
    lines = gate.judge(contest([0.02, 0.02, 0.02, 0.3], 0.15), RULES)
    assert failed(lines) == [("loss", "TAIL")]
    assert "TAIL" in gate.summary(lines)


def test_a_group_with_too_few_positives_reports_only():
    rules = least(group_positives=10_000)
    lines = gate.judge(contest([0.02, 0.02, 0.02, 0.3], 0.15), rules)
    assert gate.passed(lines)
    tail = next(line for line in lines if line.rule == "loss" and line.slice == "TAIL")
    assert tail.verdict == gate.REPORTED
    assert "too few" in tail.reason


def test_support_at_the_limit_decides():
    tail = int(targets()[:, 3].sum())
    lines = gate.judge(contest([0.02, 0.02, 0.02, 0.3], 0.15), least(group_positives=tail))
    assert ("loss", "TAIL") in failed(lines)
    lines = gate.judge(contest([0.02, 0.02, 0.02, 0.3], 0.15), least(group_positives=tail + 1))
    assert ("loss", "TAIL") not in failed(lines)


def test_a_loss_exactly_at_the_limit_is_allowed():
    lines = gate.judge(contest([0.02, 0.02, 0.02, 0.3], 0.15), RULES)
    loss = next(line for line in lines if line.slice == "TAIL" and line.metric == "micro_f1")
    rules = replace(RULES, max_loss={"TAIL": -loss.difference})
    assert gate.passed(gate.judge(contest([0.02, 0.02, 0.02, 0.3], 0.15), rules))


def test_the_first_version_passes_floors_and_baseline_alone():
    lines = gate.judge(contest(champion=None), RULES)
    assert gate.passed(lines)
    assert {line.rule for line in lines} == {"floor", "baseline", "sample"}
    assert gate.summary(lines).startswith("First version")


def test_the_first_version_is_refused_below_a_floor_or_the_baseline():
    lines = gate.judge(contest(champion=None), replace(RULES, floors={"macro_f1": 0.99}))
    assert failed(lines) == [("floor", "all")]
    poor = contest(0.45, None)
    assert ("baseline", "all") in failed(gate.judge(poor, RULES))


def test_a_floor_that_is_just_reached_passes():
    value = compute("micro_f1", predictions(0.1, 1), targets())
    assert gate.passed(
        gate.judge(contest(champion=None), replace(RULES, floors={"micro_f1": value}))
    )


def test_documents_that_the_champion_has_seen_do_not_count():
    """A champion that is right on what it saw and useless elsewhere must not win by leaking."""
    seen = np.arange(N_DOCS) < 300
    theirs = predictions(0.3, 2).toarray()
    theirs[seen] = targets().toarray()[seen]
    leaking = gate.Champion(sp.csr_matrix(theirs), LABELS, seen)
    honest = gate.judge(replace(contest(0.2), champion=leaking), RULES)
    assert gate.passed(honest)
    blind = replace(leaking, seen=np.zeros(N_DOCS, dtype=bool))
    assert failed(gate.judge(replace(contest(0.2), champion=blind), RULES))


def sizes(lines: list[gate.Line]) -> dict[str, tuple[float | None, str]]:
    return {line.metric: (line.challenger, line.verdict) for line in lines if line.rule == "sample"}


def test_one_unseen_document_does_not_decide():
    """The champion is wrong on the only document that it has not seen, and better otherwise."""
    seen = np.arange(N_DOCS) > 0
    theirs = targets().toarray()
    theirs[0] = 1 - theirs[0]
    held = gate.Champion(sp.csr_matrix(theirs), LABELS, seen)
    lines = gate.judge(replace(contest(0.2), champion=held), RULES)
    assert failed(lines)[:2] == [("sample", "all"), ("sample", "all")]
    assert sizes(lines)["docs"] == (1.0, gate.FAILED)
    assert "1 test documents that the champion has not seen" in gate.summary(lines)


@pytest.mark.parametrize(("docs", "verdict"), [(300, gate.PASSED), (301, gate.FAILED)])
def test_copies_count_once_toward_the_least_number_of_documents(docs: int, verdict: str):
    pairs = contest(0.05, 0.15, doc_groups=[str(row // 2) for row in range(N_DOCS)])
    assert sizes(gate.judge(pairs, least(docs=docs)))["docs"] == (300.0, verdict)


@pytest.mark.parametrize("champion", [0.15, None])
def test_the_least_number_of_positives_is_reached_exactly(champion: float | None):
    made, positives = contest(0.05, champion), int(targets().nnz)
    assert sizes(gate.judge(made, least(positives=positives)))["positives"][1] == gate.PASSED
    assert sizes(gate.judge(made, least(positives=positives + 1)))["positives"][1] == gate.FAILED


def test_a_gain_by_the_copies_of_one_document_is_none():
    """Right on one document and its 59 copies, where the champion is wrong; the same elsewhere."""
    theirs = predictions(0.1, 1).toarray()
    ours = theirs.copy()
    ours[:60], theirs[:60] = targets().toarray()[0], 1 - targets().toarray()[0]
    truth = targets().toarray()
    truth[:60] = truth[0]
    held = gate.Champion(sp.csr_matrix(theirs), LABELS, np.zeros(N_DOCS, dtype=bool))
    made = contest(targets=sp.csr_matrix(truth), challenger=0.1)
    made = replace(made, challenger=sp.csr_matrix(ours), champion=held)
    copies = replace(made, doc_groups=["0"] * 60 + KEYS[60:])
    verdicts = [
        next(line.verdict for line in gate.judge(found, RULES) if line.rule == "gain")
        for found in (made, copies)
    ]
    assert verdicts == [gate.PASSED, gate.FAILED]


def test_a_budget_with_nothing_left_tonight_says_so():
    spent = gate.Asked(300, np.ones(9_999, dtype=bool))
    lines = gate.judge(contest(0.02, 0.15, asked=spent), RULES)
    gain = next(line for line in lines if line.rule == "gain")
    assert (gain.verdict, gain.interval) == (gate.FAILED, None)
    assert "in decision 301 on this test set nothing of its error budget is left" in gain.reason


def test_the_gate_asks_for_what_training_chose_by():
    """Worse on two frequent labels, much better on two rare ones: +macro, a little less micro."""
    made = contest([0.12, 0.12, 0.02, 0.02], [0.1, 0.1, 0.25, 0.25])
    lines = gate.judge(made, replace(RULES, objective="mean_f1", max_loss={}))
    gains = {line.metric: line for line in lines if line.rule == "gain"}
    assert gains["mean_f1"].verdict == gate.PASSED
    assert gains["micro_f1"].verdict == gains["macro_f1"].verdict == gate.REPORTED
    assert gains["mean_f1"].limit == 0.0


def test_macro_f1_cannot_buy_any_loss_of_micro_f1():
    """`d` is rare: the champion misses it, the challenger finds it, and loses `a` and `b`."""
    truth = targets().toarray()
    truth[:, 3] = np.arange(N_DOCS) < 20
    ours, theirs = truth.copy(), truth.copy()
    theirs[:, 3] = 0
    wrong = np.random.default_rng(9).random((N_DOCS, 2)) < 0.05
    ours[:, :2] = np.abs(ours[:, :2] - wrong)
    held = gate.Champion(sp.csr_matrix(theirs), LABELS, np.zeros(N_DOCS, dtype=bool))
    made = replace(
        contest(targets=sp.csr_matrix(truth)), challenger=sp.csr_matrix(ours), champion=held
    )
    lines = gate.judge(made, replace(RULES, objective="mean_f1", max_loss={}))
    assert failed(lines) == [("micro_loss", "all")]
    line = next(line for line in lines if line.rule == "micro_loss")
    assert line.interval[0] < line.limit == -0.02 < line.difference + 0.02
    loose = replace(RULES, objective="mean_f1", max_loss={}, max_micro_loss=0.1)
    assert gate.passed(gate.judge(made, loose))


def test_no_document_left_is_a_refusal_with_a_reason():
    held = gate.Champion(predictions(0.1, 2), LABELS, np.ones(N_DOCS, dtype=bool))
    lines = gate.judge(replace(contest(0.0), champion=held), RULES)
    assert failed(lines) == [("sample", "all")]
    assert "every test document" in gate.summary(lines)


def test_no_test_document_at_all_is_a_refusal():
    empty = sp.csr_matrix((0, 4), dtype=np.int8)
    lines = gate.judge(gate.Contest(LABELS, GROUPS, [], empty, empty, empty), RULES)
    assert failed(lines) == [("sample", "all")]


def test_an_added_label_is_listed_and_left_out_of_the_comparison():
    """The champion lacks `d`; on the shared labels both predict the same, so there is no gain."""
    held = gate.Champion(predictions(0.1, 1)[:, :3], LABELS[:3], np.zeros(N_DOCS, dtype=bool))
    made = replace(contest(0.1), champion=held)
    assert made.label_changes == (["d"], [])
    gain = next(line for line in gate.judge(made, RULES) if line.rule == "gain")
    assert gain.difference == 0.0
    assert gain.challenger == compute("micro_f1", predictions(0.1, 1)[:, :3], targets()[:, :3])


def test_shared_labels_are_matched_by_name_not_by_column():
    order = [2, 0, 3, 1]
    held = gate.Champion(
        predictions(0.1, 1)[:, order], [LABELS[i] for i in order], np.zeros(N_DOCS, dtype=bool)
    )
    gain = next(
        line
        for line in gate.judge(replace(contest(0.1), champion=held), RULES)
        if line.rule == "gain"
    )
    assert gain.difference == 0.0


@pytest.mark.parametrize(("least", "verdict"), [(0.8, gate.PASSED), (0.81, gate.FAILED)])
def test_a_removed_label_counts_against_the_shared_share(least: float, verdict: str):
    wider = sp.hstack([predictions(0.3, 2), sp.csr_matrix((N_DOCS, 1), dtype=np.int8)]).tocsr()
    held = gate.Champion(wider, [*LABELS, "gone"], np.zeros(N_DOCS, dtype=bool))
    made = replace(contest(0.02), champion=held)
    assert made.label_changes == ([], ["gone"])
    lines = gate.judge(made, replace(RULES, min_shared_labels=least))
    line = next(line for line in lines if line.rule == "labels")
    assert (line.verdict, line.challenger) == (verdict, 0.8)
    assert ("without the champion" in line.reason) == (verdict == gate.FAILED)


def old(*columns: int) -> sp.csr_matrix:
    """Predictions of the champion in these columns of its own."""
    return predictions(0.1, 2)[:, columns]


def against(champion: gate.Champion, *, labels: list[str], **matrices) -> gate.Contest:
    made = gate.Contest(
        labels, GROUPS[: len(labels)], KEYS, matrices["targets"], matrices["challenger"],
        sp.csr_matrix(matrices["targets"].shape, dtype=np.int8), champion,
    )  # fmt: skip
    return replace(made, champion=made.champion.renamed(matrices["fates"], labels))


def union(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The columns a|b, c, d."""
    wide = matrix.toarray()
    return sp.csr_matrix(np.column_stack([wide[:, 0] | wide[:, 1], wide[:, 2:]]).astype(np.int8))


NOBODY_SEEN = np.zeros(N_DOCS, dtype=bool)


@pytest.mark.parametrize(("wrong", "promoted"), [(0.1, False), (0.02, True)])
def test_a_renamed_label_is_compared_with_its_old_self(wrong: float, promoted: bool):
    """Under another name the contest has the same numbers, to the last digit."""
    known = {"a": Fate(("new",)), "x": Fate(("a",))}
    champion = gate.Champion(predictions(0.1, 2), LABELS, NOBODY_SEEN)
    ours = predictions(wrong, 1)
    made = against(champion, labels=["new", *LABELS[1:]], targets=targets(), challenger=ours,
                   fates=known)  # fmt: skip
    assert made.label_changes == ([], [])
    assert made.champion.mapped == {"new": ["a"]}
    same = replace(contest(wrong), baseline=made.baseline)
    strip = [replace(line, reason="") for line in gate.judge(made, RULES)]
    assert strip == [replace(line, reason="") for line in gate.judge(same, RULES)]
    assert gate.passed(strip) == promoted


@pytest.mark.parametrize(("wrong", "promoted"), [(0.0, True), (None, False), (0.3, False)])
def test_a_merged_label_is_compared_with_the_union_of_its_old_ones(
    wrong: float | None, promoted: bool
):
    """Perfect predictions win, those of the champion itself do not, worse ones do not."""
    known = {"a": Fate(("m",)), "b": Fate(("m",))}
    champion = gate.Champion(predictions(0.1, 2), LABELS, NOBODY_SEEN)
    truth = union(targets())
    theirs = union(predictions(0.1, 2))
    ours = theirs if wrong is None else union(predictions(wrong, 1))
    made = against(champion, labels=["m", "c", "d"], targets=truth, challenger=ours, fates=known)
    lines = gate.judge(made, RULES)
    gain = next(line for line in lines if line.rule == "gain" and line.metric == "micro_f1")
    assert gain.champion == compute("micro_f1", theirs, truth)
    assert gain.challenger == compute("micro_f1", ours, truth)
    assert gate.passed(lines) == promoted
    assert made.label_changes == ([], []) and made.champion.mapped == {"m": ["a", "b"]}


def test_a_renamed_label_that_the_challenger_still_has_is_compared_as_it_is():
    """Its workspace was not migrated: `validate.policy` leaves old labels alone."""
    champion = gate.Champion(predictions(0.1, 2), LABELS, NOBODY_SEEN)
    made = against(champion, labels=LABELS, targets=targets(), challenger=predictions(0.02, 1),
                   fates={"a": Fate(("new",))})  # fmt: skip
    assert made.label_changes == ([], []) and made.champion.mapped == {}
    assert gate.passed(gate.judge(made, RULES))


def test_split_and_retired_labels_are_left_out_and_said():
    """The challenger is bad at a, which was split, though its documents still have it."""
    known = {"a": Fate(("p", "q"), True), "b": Fate(())}
    champion = gate.Champion(predictions(0.1, 2), LABELS, NOBODY_SEEN)
    ours = predictions([0.5, 0.0, 0.01, 0.01], 1)[:, [0, 2, 3]]
    truth = targets()[:, [0, 2, 3]]
    made = against(champion, labels=["a", "c", "d"], targets=truth, challenger=ours, fates=known)
    assert made.label_changes == ([], []) and made.champion.left_out == ["a", "b"]
    lines = gate.judge(made, replace(RULES, max_loss={}))
    assert gate.passed(lines)
    gain = next(line for line in lines if line.rule == "gain" and line.metric == "micro_f1")
    assert gain.champion == compute("micro_f1", old(2, 3), targets()[:, [2, 3]])
    share = next(line for line in lines if line.rule == "labels")
    assert share.challenger == 1.0
    assert "2 split or retired and not compared" in share.reason


def test_nothing_left_to_compare_is_refused():
    known = dict.fromkeys(LABELS, Fate(()))
    champion = gate.Champion(predictions(0.1, 2), LABELS, NOBODY_SEEN)
    made = against(champion, labels=["x", "y", "z", "w"], targets=targets(),
                   challenger=targets(), fates=known)  # fmt: skip
    assert failed(gate.judge(made, replace(RULES, min_shared_labels=0.0))) == [("labels", "all")]


def test_no_shared_label_is_refused_even_without_a_least_share():
    held = gate.Champion(predictions(0.1, 2), list("wxyz"), np.zeros(N_DOCS, dtype=bool))
    lines = gate.judge(replace(contest(0.0), champion=held), replace(RULES, min_shared_labels=0.0))
    assert failed(lines) == [("labels", "all")]


def test_the_same_seed_gives_the_same_lines():
    assert gate.judge(contest(), RULES) == gate.judge(contest(), RULES)


def test_matrices_of_other_shapes_are_named():
    with pytest.raises(DataError, match="Shapes do not match"):
        gate.judge(contest(challenger=0.1, targets=targets()[:10]), RULES)


def test_measured_and_fact_lines():
    assert gate.measured("size_mb", 5.0, 5.0, "MB").verdict == gate.PASSED
    assert gate.measured("size_mb", 5.1, 5.0, "MB").verdict == gate.FAILED
    assert gate.fact("smoke", False, "It does not load.").verdict == gate.FAILED
    assert gate.passed([gate.Line("x", gate.REPORTED, "")])
    assert not gate.passed([])


@pytest.mark.parametrize(("limit", "verdict"), [(0.18, gate.PASSED), (0.17, gate.FAILED)])
def test_int8_may_lose_up_to_its_limit(limit: float, verdict: str):
    """Two labels on each of five documents; int8 misses three of ten.

    F1 falls from 1 to 14/17, that of the second label from 1 to 4/7, so macro-F1 to 11/14.
    """
    truth = sp.csr_matrix(np.ones((5, 2), dtype=np.int8))
    served = truth.toarray()
    served[:3, 1] = 0
    limits = {"micro_f1": limit, "macro_f1": 0.5}
    micro, macro = gate.quantized(sp.csr_matrix(served), truth, truth, limits)
    assert (micro.verdict, macro.verdict) == (verdict, gate.PASSED)
    assert micro.difference == pytest.approx(14 / 17 - 1)
    assert macro.difference == pytest.approx(11 / 14 - 1)
    assert micro.limit == -limit
    better = gate.quantized(truth, sp.csr_matrix(served), truth, {"micro_f1": 0.0})
    assert better[0].verdict == gate.PASSED
