"""The promotion gate: is the challenger really better than the champion, on the same documents?

Every rule leaves lines that say what was compared, by how much, with which interval, against which
limit, and what follows. A model is promoted when no line failed. Differences are challenger minus
the other model; intervals are paired bootstrap intervals over documents (`evaluation.intervals`).

Where the interval decides (gain, baseline) its lower bound must lie above the limit, so that two
equal models pass in about (1 - level) / 2 of the cases. A loss in one label group is judged by the
estimate: a small group's interval is so wide that its bound would refuse every model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
    """The limits of the gate. F1 values and differences are fractions, 0.01 is one point."""

    primary_metric: str = "micro_f1"
    min_gain: float = 0.0
    max_loss: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    over_baseline: Mapping[str, float] = field(default_factory=dict)
    min_shared_labels: float = 0.9
    min_support: int = 30
    n_draws: int = 1000
    level: float = 0.92
    seed: int = 0


@dataclass(frozen=True)
class Line:
    """What one rule found. `champion` is the value of the model compared with, if there is one."""

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
    """The present champion's predictions, 0/1 CSR (n_docs, its n_labels), over its own labels.

    `seen` is bool (n_docs,): the documents it was trained on, which cannot judge it.
    """

    predicted: sp.csr_matrix
    labels: Sequence[str]
    seen: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Contest:
    """What the rules look at: 0/1 CSR matrices (n_docs, n_labels) over the challenger's labels.

    `groups` is the frequency group of each label (HEAD, MEDIUM, TAIL). `champion` is None for the
    first version, and where the label set was changed on purpose (a rebase).
    """

    labels: Sequence[str]
    groups: Sequence[str]
    targets: sp.csr_matrix
    challenger: sp.csr_matrix
    baseline: sp.csr_matrix
    champion: Champion | None = None


def judge(contest: Contest, rules: Rules) -> list[Line]:
    """All lines of all rules. Raises DataError where the matrices do not fit the labels."""
    shape = contest.targets.shape
    if shape != contest.challenger.shape or shape[1] != len(contest.labels):
        raise DataError(
            f"challenger predictions {contest.challenger.shape}, targets {shape} and "
            f"{len(contest.labels)} labels do not fit; run `dvc repro` and register again."
        )
    if shape[0] == 0:
        return [Line("overlap", FAILED, "There is no test document: nothing can be judged.")]
    return [line for rule in RULES.values() for line in rule(contest, rules)]


def label_changes(contest: Contest) -> tuple[list[str], list[str]]:
    """Labels that the challenger has and the champion lacks, and the reverse, each sorted."""
    if contest.champion is None:
        return [], []
    ours, theirs = set(contest.labels), set(contest.champion.labels)
    return sorted(ours - theirs), sorted(theirs - ours)


def floors(contest: Contest, rules: Rules) -> list[Line]:
    """The challenger's value on all its labels reaches every absolute floor."""
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
    """The challenger beats the linear baseline of the same run, by the interval's lower bound."""
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
    """The challenger still knows most of the champion's labels."""
    if contest.champion is None or not contest.champion.labels:
        return []
    added, removed = label_changes(contest)
    share = 1 - len(removed) / len(contest.champion.labels)
    passed = share > 0 and share >= rules.min_shared_labels
    advice = "" if passed else " Use --rebase if the label set was changed on purpose."
    return [
        Line(
            "labels",
            PASSED if passed else FAILED,
            f"{points(share)} % of the champion's labels are shared; "
            f"{len(added)} added, {len(removed)} removed.{advice}",
            metric="shared_labels",
            challenger=share,
            limit=rules.min_shared_labels,
        )
    ]


def against_champion(contest: Contest, rules: Rules) -> list[Line]:
    """Gain on the primary metric and loss per label group, on the labels that both models know."""
    champion = contest.champion
    if champion is None:
        return []
    rows = np.flatnonzero(~champion.seen)
    if len(rows) == 0:
        reason = "The champion was trained on every test document: nothing is left to judge it on."
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


def quantised(
    served: sp.csr_matrix,
    trained: sp.csr_matrix,
    targets: sp.csr_matrix,
    max_loss: Mapping[str, float],
) -> list[Line]:
    """An int8 version's predictions lose little to those of the model it was made of.

    All are 0/1 CSR (n_docs, n_labels); `max_loss` is the largest loss by metric, by the estimate.
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
    """A line for something measured on the served model that must not exceed `limit`."""
    verdict = PASSED if value <= limit else FAILED
    reason = f"{value:.4g} {unit}, at most {limit:.4g} {unit} allowed."
    return Line("served", verdict, reason, metric=name, challenger=value, limit=limit)


def fact(rule: str, passed: bool, reason: str) -> Line:
    """A line for something that is so or is not so (tags complete, version loads, …)."""
    return Line(rule, PASSED if passed else FAILED, reason)


def passed(lines: Sequence[Line]) -> bool:
    """Whether the challenger may be promoted: there are lines, and none failed."""
    return bool(lines) and all(line.verdict != FAILED for line in lines)


def summary(lines: Sequence[Line]) -> str:
    """One sentence: the gain if the gate was passed, else every line that failed."""
    if passed(lines):
        gains = [line for line in lines if line.rule == "gain" and line.verdict == PASSED]
        return gains[0].reason if gains else "First version: above the floors and the baseline."
    return " ".join(_named(line) for line in lines if line.verdict == FAILED)


def points(value: float) -> str:
    """A fraction in points: 0.5843 -> 58.4."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference in points with its sign: -0.0123 -> -1.2."""
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
    """A line judged by the interval: its lower bound must lie above the limit."""
    verdict = PASSED if effect["low"] > limit else FAILED
    reason = (
        f"{metric} {points(effect['a'])} against {points(effect['b'])} of {other}: "
        f"{signed(effect['difference'])} points, interval {signed(effect['low'])} to "
        f"{signed(effect['high'])}; the lower bound must lie above {signed(limit)}."
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
