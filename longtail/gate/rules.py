"""The promotion gate: is the challenger really better than the champion on the same documents?

Every rule returns lines that say what was compared, the difference, its interval, the limit, and
the verdict. A model is promoted if no line failed. Differences are challenger minus the other
model; their intervals come from the paired sign-flip test over groups of documents
(`evaluation.sign_flips`), for every metric alike.

The gain must exceed what the error budget of the test set allows an equal model (`gate.budget`).
That the challenger beats the baseline, and loses no more micro-F1 than allowed, is judged by a
lower bound at the level `confidence`. A loss in one label group is judged by the estimate: a small
group's interval is so wide that its bound would reject every model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

import scipy.sparse as sp

from longtail.errors import DataError, ParameterError
from longtail.evaluation.metrics import compute
from longtail.evaluation.sign_flips import Null, critical_value, null_differences
from longtail.gate.budget import Answer, Budget
from longtail.gate.contest import Contest
from longtail.gate.lines import ALL, FAILED, PASSED, REPORTED, Line, points, signed

GROUP_METRIC = "micro_f1"


@dataclass(frozen=True)
class Sample:
    """The smallest sample that decides anything.

    Attributes:
        docs: test documents that the champion has not seen; copies count once.
        positives: labels that these documents have, all together.
        group_positives: the same in one label group, for that group to decide.
    """

    docs: int
    positives: int
    group_positives: int


@dataclass(frozen=True)
class Rules:
    """The limits of the gate. F1 values and differences are fractions: 0.01 is one point.

    Attributes:
        objective: metric of `contest.METRICS` that the gain is judged on, and that training chose
            the challenger by.
        min_gain: least gain over the champion, beyond what chance explains.
        max_micro_loss: largest loss of micro-F1, for the lower bound of the difference.
        max_loss: label group to its largest loss of micro-F1, for the estimate.
        floors: metric to the challenger's least value.
        over_baseline: metric to the least difference to the baseline, for the lower bound.
        min_shared_labels: least share of the champion's labels that the challenger knows, 0 to 1.
        min_sample: the smallest sample that decides.
        confidence: of each lower bound, one-sided, in (0.5, 1).
        error_budget: the chance of a false promotion.
    """

    objective: str
    min_gain: float
    max_micro_loss: float
    max_loss: Mapping[str, float]
    floors: Mapping[str, float]
    over_baseline: Mapping[str, float]
    min_shared_labels: float
    min_sample: Sample
    confidence: float
    error_budget: Budget


def judge(contest: Contest, rules: Rules) -> list[Line]:
    """All lines of all rules.

    Raises:
        DataError: the shapes of matrices and labels differ.
    """
    shape = contest.targets.shape
    if shape != contest.challenger.shape or shape[1] != len(contest.labels):
        raise DataError(
            f"Shapes do not match: challenger predictions {contest.challenger.shape}, "
            f"targets {shape}, {len(contest.labels)} labels."
        )
    if shape[0] == 0:
        return [Line("sample", FAILED, "There is no test document, so nothing can be judged.")]
    return [line for rule in RULES.values() for line in rule(contest, rules)]


def floors(contest: Contest, rules: Rules) -> list[Line]:
    """Does the challenger reach every floor, on all its labels?"""
    values = {m: compute(m, contest.challenger, contest.targets) for m in rules.floors}
    return [
        Line(
            "floor",
            PASSED if values[metric] >= limit else FAILED,
            f"{metric} {points(values[metric])} against a floor of {points(limit)}.",
            metric=metric,
            challenger=values[metric],
            limit=limit,
        )
        for metric, limit in rules.floors.items()
    ]


def over_baseline(contest: Contest, rules: Rules) -> list[Line]:
    """Does the challenger beat the linear baseline of the same run, by the lower bound?"""
    if not rules.over_baseline:
        return []
    found = null_differences(
        contest.challenger,
        contest.baseline,
        contest.targets,
        list(rules.over_baseline),
        groups=contest.doc_groups,
    )[ALL]
    return [
        _bounded("baseline", metric, found[metric], limit, "the baseline", rules)
        for metric, limit in rules.over_baseline.items()
    ]


def shared_labels(contest: Contest, rules: Rules) -> list[Line]:
    """Does the challenger still know most of the champion's labels?"""
    champion = contest.champion
    if champion is None or not (champion.labels or champion.left_out):
        return []
    added, removed = contest.label_changes
    share = 1 - len(removed) / len(champion.labels) if champion.labels else 0.0
    kept = share > 0 and share >= rules.min_shared_labels
    changes = f"{len(added)} added, {len(removed)} removed"
    if champion.mapped or champion.left_out:
        changes += (
            f", {len(champion.mapped)} mapped from renamed or merged ones, "
            f"{len(champion.left_out)} split or retired and not compared"
        )
    reason = f"{points(share)}% of the champion's labels are shared; {changes}."
    if not kept:
        reason += " If the label set was changed on purpose, judge without the champion."
    return [
        Line(
            "labels",
            PASSED if kept else FAILED,
            reason,
            metric="shared_labels",
            challenger=share,
            limit=rules.min_shared_labels,
        )
    ]


def sample(contest: Contest, rules: Rules) -> list[Line]:
    """Are there enough documents and positives to tell one model from another?"""
    comparison = contest.comparison
    if contest.champion is not None and contest.champion.seen.all():
        reason = "The champion was trained on every test document; none is left to judge it on."
        return [Line("sample", FAILED, reason)]
    n_docs = comparison.n_docs if comparison else len(set(contest.doc_groups))
    positives = comparison.support[ALL] if comparison else int(contest.targets.nnz)
    unseen = " that the champion has not seen" if comparison else ""
    found = {
        "docs": (n_docs, rules.min_sample.docs, f"test documents{unseen}, copies counted once"),
        "positives": (positives, rules.min_sample.positives, f"labels on test documents{unseen}"),
    }
    return [
        Line(
            "sample",
            PASSED if value >= least else FAILED,
            f"{value:,} {what}; at least {least:,} decide.",
            metric=name,
            challenger=float(value),
            limit=float(least),
        )
        for name, (value, least, what) in found.items()
    ]


def gain(contest: Contest, rules: Rules) -> list[Line]:
    """Is the challenger better in the objective than chance explains?"""
    if contest.comparison is None:
        return []
    found = contest.comparison.differences[ALL]
    null, answer = found[rules.objective], answered(contest, rules)
    needed = (
        f"the gain must be above {signed(rules.min_gain + answer.bound)}"
        if isfinite(answer.bound)
        else "nothing of its error budget is left tonight"
    )
    reason = (
        f"{_values(rules.objective, null, 'the champion')}; in decision "
        f"{answer.after.decisions} on this test set {needed}."
    )
    verdict = PASSED if answer.exceeded else FAILED
    lines = [_line("gain", verdict, rules.objective, null, answer.bound, reason, rules.min_gain)]
    for metric, other in found.items():
        if metric != rules.objective:
            reach = _reach(other, rules)
            lines.append(_line("gain", REPORTED, metric, other, reach, "Reported only."))
    return lines


def answered(contest: Contest, rules: Rules) -> Answer:
    """What the test set answers to the question whether the challenger is better.

    Raises:
        ParameterError: the contest has no comparison with a champion.
    """
    if contest.comparison is None:
        raise ParameterError("Without a comparison with a champion, no gain can be judged.")
    null = contest.comparison.differences[ALL][rules.objective]
    return contest.asked.answer(null, rules.min_gain, rules.error_budget)


def micro_loss(contest: Contest, rules: Rules) -> list[Line]:
    """Is the challenger not inferior in micro-F1, whatever it gained in rare labels?"""
    if contest.comparison is None:
        return []
    found = contest.comparison.differences[ALL][GROUP_METRIC]
    limit = -rules.max_micro_loss
    return [_bounded("micro_loss", GROUP_METRIC, found, limit, "the champion", rules)]


def group_losses(contest: Contest, rules: Rules) -> list[Line]:
    """Did no label group lose more than allowed?"""
    if contest.comparison is None:
        return []
    lines = []
    for group, limit in rules.max_loss.items():
        if group not in contest.comparison.differences:
            continue
        found = contest.comparison.differences[group]
        support, least = contest.comparison.support[group], rules.min_sample.group_positives
        difference = found[GROUP_METRIC].difference
        if support < least:
            verdict = REPORTED
            reason = f"{support} positives, fewer than {least}: too few to decide."
        else:
            verdict = PASSED if difference >= -limit else FAILED
            reason = (
                f"{signed(difference)} points on {support} positives; "
                f"a loss of up to {points(limit)} is allowed."
            )
        for metric, own, why, bound in (
            (GROUP_METRIC, verdict, reason, -limit),
            ("macro_f1", REPORTED, "Reported only.", None),
        ):
            null = found[metric]
            lines.append(_line("loss", own, metric, null, _reach(null, rules), why, bound, group))
    return lines


def quantized(
    served: sp.csr_matrix,
    trained: sp.csr_matrix,
    targets: sp.csr_matrix,
    max_loss: Mapping[str, float],
) -> list[Line]:
    """Does an int8 version lose little against the float32 model that it was made from?

    Args:
        served: 0/1 CSR `(n_docs, n_labels)`, predictions in int8.
        trained: predictions in float32, of the same shape.
        targets: the true labels, of the same shape.
        max_loss: metric to its largest loss, by the estimate.
    """
    lines = []
    for metric, limit in max_loss.items():
        before, after = compute(metric, trained, targets), compute(metric, served, targets)
        lines.append(
            Line(
                "int8",
                PASSED if after - before >= -limit else FAILED,
                f"{metric} {points(after)} in int8 against {points(before)} in float32; "
                f"a loss of up to {points(limit)} is allowed.",
                metric=metric,
                challenger=after,
                difference=after - before,
                limit=-limit,
            )
        )
    return lines


def _reach(null: Null, rules: Rules) -> float:
    """How far a one-sided bound lies from the estimate."""
    return critical_value(null.differences, 1 - rules.confidence)


def _values(metric: str, null: Null, other: str) -> str:
    return (
        f"{metric} {points(null.a)} against {points(null.b)} of {other}: "
        f"{signed(null.difference)} points"
    )


def _bounded(rule: str, metric: str, null: Null, limit: float, other: str, rules: Rules) -> Line:
    """A line judged by the lower bound of the difference, which must be above the limit."""
    reach = _reach(null, rules)
    low = null.difference - reach
    verdict = PASSED if low > limit else FAILED
    reason = (
        f"{_values(metric, null, other)}, lower bound {signed(low)}; "
        f"it must be above {signed(limit)}."
    )
    return _line(rule, verdict, metric, null, reach, reason, limit)


def _line(
    rule: str,
    verdict: str,
    metric: str,
    null: Null,
    reach: float,
    reason: str,
    limit: float | None = None,
    group: str = ALL,
) -> Line:
    return Line(
        rule,
        verdict,
        reason,
        metric=metric,
        slice=group,
        champion=null.b,
        challenger=null.a,
        difference=null.difference,
        interval=(null.difference - reach, null.difference + reach) if isfinite(reach) else None,
        limit=limit,
    )


RULES: dict[str, Callable[[Contest, Rules], list[Line]]] = {
    "floor": floors,
    "baseline": over_baseline,
    "labels": shared_labels,
    "sample": sample,
    "gain": gain,
    "micro_loss": micro_loss,
    "loss": group_losses,
}
