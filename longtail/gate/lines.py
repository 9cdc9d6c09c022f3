"""What a rule of the gate found: a line with numbers, limit, verdict and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PASSED, FAILED, REPORTED = "passed", "failed", "reported"
ALL = "all"


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


def fact(rule: str, passed: bool, reason: str) -> Line:
    """A line for something that is either true or not (all tags set, version loads, …)."""
    return Line(rule, PASSED if passed else FAILED, reason)


def measured(name: str, value: float, limit: float, unit: str) -> Line:
    """A line for a measurement of the served model that must not exceed `limit`."""
    verdict = PASSED if value <= limit else FAILED
    reason = f"{value:.4g} {unit}, at most {limit:.4g} {unit} allowed."
    return Line("served", verdict, reason, metric=name, challenger=value, limit=limit)


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
