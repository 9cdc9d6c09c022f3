"""The promotion gate: is the challenger really better than the champion on the same documents?

Every rule returns lines that say what was compared, the difference, its interval, the limit, and
the verdict. A model is promoted if no line failed. Differences are challenger minus the other
model; intervals are paired bootstrap intervals over documents (`evaluation.intervals`).

Where the interval decides (gain, baseline), its lower bound must be above the limit, so two equal
models pass in about (1 - level) / 2 of the cases. A loss in one label group is judged by the
estimate: a small group's interval is so wide that its bound would reject every model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from longtail.errors import DataError
from longtail.evaluation.intervals import paired_differences
from longtail.evaluation.metrics import compute

PASSED, FAILED, REPORTED = "passed", "failed", "reported"
GROUP_METRIC = "micro_f1"
ALL = "all"
Effects = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Rules:
    """The limits of the gate. F1 values and differences are fractions: 0.01 is one point.

    Attributes:
        primary_metric: set metric that the gain is judged on.
        min_gain: least gain over the champion, for the lower bound of the interval.
        max_loss: label group to its largest loss of micro-F1.
        floors: metric to the challenger's least value.
        over_baseline: metric to the least difference to the baseline, for the lower bound.
        min_shared_labels: least share of the champion's labels that the challenger knows, 0 to 1.
        min_support: positives that a label group needs to decide anything.
        n_draws: bootstrap draws over documents.
        level: coverage of the intervals, in (0, 1).
        seed: of the draws.
    """

    primary_metric: str
    min_gain: float
    max_loss: Mapping[str, float]
    floors: Mapping[str, float]
    over_baseline: Mapping[str, float]
    min_shared_labels: float
    min_support: int
    n_draws: int
    level: float
    seed: int


@dataclass(frozen=True)
class Line:
    """What one rule found; `champion` is the value of the model compared with, if there is one."""

    rule: str
    verdict: str
    reason: str
    metric: str = ""
    slice: str = ALL
    champion: float | None = None
    challenger: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Champion:
    """What the current champion predicts for the test documents.

    Attributes:
        predicted: 0/1 CSR `(n_docs, n_own_labels)`.
        labels: the champion's own labels, the columns of `predicted`.
        seen: `(n_docs,)` bool; documents that it was trained on and that therefore do not count.
    """

    predicted: sp.csr_matrix
    labels: Sequence[str]
    seen: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Contest:
    """What the rules look at; all matrices are 0/1 CSR `(n_docs, n_labels)`.

    Attributes:
        labels: the challenger's labels, the columns of the matrices.
        groups: frequency group of each label (HEAD, MEDIUM, TAIL).
        targets: the true labels of the test documents.
        challenger: the challenger's predictions.
        baseline: the linear baseline's predictions.
        champion: None for the first version, and if the label set was changed on purpose.
    """

    labels: Sequence[str]
    groups: Sequence[str]
    targets: sp.csr_matrix
    challenger: sp.csr_matrix
    baseline: sp.csr_matrix
    champion: Champion | None = None


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
        return [Line("overlap", FAILED, "There is no test document, so nothing can be judged.")]
    return [line for rule in RULES.values() for line in rule(contest, rules)]


def label_changes(contest: Contest) -> tuple[list[str], list[str]]:
    """The labels that the challenger added and those that it lost, each sorted."""
    if contest.champion is None:
        return [], []
    ours, theirs = set(contest.labels), set(contest.champion.labels)
    return sorted(ours - theirs), sorted(theirs - ours)


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
    found = _differences(
        contest.challenger, contest.baseline, contest.targets, list(rules.over_baseline), rules
    )[ALL]
    return [
        _bounded("baseline", metric, found[metric], limit, "the baseline")
        for metric, limit in rules.over_baseline.items()
    ]


def shared_labels(contest: Contest, rules: Rules) -> list[Line]:
    """Does the challenger still know most of the champion's labels?"""
    if contest.champion is None or not contest.champion.labels:
        return []
    added, removed = label_changes(contest)
    share = 1 - len(removed) / len(contest.champion.labels)
    passed = share > 0 and share >= rules.min_shared_labels
    reason = (
        f"{points(share)}% of the champion's labels are shared; "
        f"{len(added)} added, {len(removed)} removed."
    )
    if not passed:
        reason += " If the label set was changed on purpose, judge without the champion."
    return [
        Line(
            "labels",
            PASSED if passed else FAILED,
            reason,
            metric="shared_labels",
            challenger=share,
            limit=rules.min_shared_labels,
        )
    ]


def against_champion(contest: Contest, rules: Rules) -> list[Line]:
    """Gain on the primary metric, and loss per label group, on the labels that both models know."""
    champion = contest.champion
    if champion is None:
        return []
    rows = np.flatnonzero(~champion.seen)
    if len(rows) == 0:
        reason = "The champion was trained on every test document; none is left to judge it on."
        return [Line("overlap", FAILED, reason)]
    theirs = {label: i for i, label in enumerate(champion.labels)}
    ours = [i for i, label in enumerate(contest.labels) if label in theirs]
    if not ours:
        return []
    columns = [theirs[contest.labels[i]] for i in ours]
    targets = contest.targets[rows][:, ours]
    groups = np.asarray(contest.groups)[ours]
    masks = {ALL: np.ones(len(ours), dtype=bool)}
    masks |= {group: groups == group for group in rules.max_loss if (groups == group).any()}
    found = _differences(
        contest.challenger[rows][:, ours],
        champion.predicted[rows][:, columns],
        targets,
        list(dict.fromkeys([rules.primary_metric, GROUP_METRIC, "macro_f1"])),
        rules,
        masks,
    )
    return _gain(found, rules) + _losses(found, _support(targets, masks), rules)


def _gain(found: Effects, rules: Rules) -> list[Line]:
    primary = rules.primary_metric
    lines = [_bounded("gain", primary, found[ALL][primary], rules.min_gain, "the champion")]
    for metric in found[ALL]:
        if metric != primary:
            lines.append(_line("gain", REPORTED, metric, found[ALL][metric], "Reported only."))
    return lines


def _losses(found: Effects, support: Mapping[str, int], rules: Rules) -> list[Line]:
    lines = []
    for group, limit in rules.max_loss.items():
        if group not in found:
            continue
        effect = found[group][GROUP_METRIC]
        if support[group] < rules.min_support:
            verdict = REPORTED
            reason = (
                f"{support[group]} positives, fewer than {rules.min_support}: too few to decide."
            )
        else:
            verdict = PASSED if effect["difference"] >= -limit else FAILED
            reason = (
                f"{signed(effect['difference'])} points on {support[group]} positives; "
                f"a loss of up to {points(limit)} is allowed."
            )
        lines.append(_line("loss", verdict, GROUP_METRIC, effect, reason, -limit, group))
        macro = found[group]["macro_f1"]
        lines.append(_line("loss", REPORTED, "macro_f1", macro, "Reported only.", group=group))
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


def measured(name: str, value: float, limit: float, unit: str) -> Line:
    """A line for a measurement of the served model that must not exceed `limit`."""
    verdict = PASSED if value <= limit else FAILED
    reason = f"{value:.4g} {unit}, at most {limit:.4g} {unit} allowed."
    return Line("served", verdict, reason, metric=name, challenger=value, limit=limit)


def fact(rule: str, passed: bool, reason: str) -> Line:
    """A line for something that is either true or not (all tags set, version loads, …)."""
    return Line(rule, PASSED if passed else FAILED, reason)


def passed(lines: Sequence[Line]) -> bool:
    """Whether the challenger may be promoted: there are lines and none failed."""
    return bool(lines) and all(line.verdict != FAILED for line in lines)


def summary(lines: Sequence[Line]) -> str:
    """The gain if the gate was passed, else every line that failed."""
    if passed(lines):
        gains = [line for line in lines if line.rule == "gain" and line.verdict == PASSED]
        return gains[0].reason if gains else "First version: above the floors and the baseline."
    return " ".join(_named(line) for line in lines if line.verdict == FAILED)


def points(value: float) -> str:
    """A fraction in points.

    >>> points(0.5843)
    '58.4'
    """
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference in points, with its sign.

    >>> signed(-0.0123), signed(0.004)
    ('-1.2', '+0.4')
    """
    return f"{100 * value:+.1f}"


def _named(line: Line) -> str:
    where = "" if line.slice == ALL else f" on {line.slice}"
    return f"{line.rule}{where}: {line.reason}"


def _differences(
    challenger: sp.csr_matrix,
    other: sp.csr_matrix,
    targets: sp.csr_matrix,
    metrics: list[str],
    rules: Rules,
    masks: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> Effects:
    return paired_differences(
        challenger,
        other,
        targets,
        metrics,
        label_masks=masks or {ALL: np.ones(targets.shape[1], dtype=bool)},
        n_draws=rules.n_draws,
        seed=rules.seed,
        level=rules.level,
    )


def _bounded(rule: str, metric: str, effect: Mapping[str, float], limit: float, other: str) -> Line:
    """A line judged by the interval, whose lower bound must be above the limit."""
    verdict = PASSED if effect["low"] > limit else FAILED
    reason = (
        f"{metric} {points(effect['a'])} against {points(effect['b'])} of {other}: "
        f"{signed(effect['difference'])} points, interval {signed(effect['low'])} to "
        f"{signed(effect['high'])}; the lower bound must be above {signed(limit)}."
    )
    return _line(rule, verdict, metric, effect, reason, limit)


def _line(
    rule: str,
    verdict: str,
    metric: str,
    effect: Mapping[str, float],
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
        champion=effect["b"],
        challenger=effect["a"],
        difference=effect["difference"],
        interval=(effect["low"], effect["high"]),
        limit=limit,
    )


def _support(targets: sp.csr_matrix, masks: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, int]:
    per_label = np.asarray(targets.sum(axis=0)).ravel()
    return {name: int(per_label[mask].sum()) for name, mask in masks.items()}


RULES: dict[str, Callable[[Contest, Rules], list[Line]]] = {
    "floor": floors,
    "baseline": over_baseline,
    "labels": shared_labels,
    "champion": against_champion,
}
