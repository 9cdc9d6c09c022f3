"""How the page writes numbers, verdicts and quoted text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

Details = Mapping[str, Any]
GOOD, BAD = {"promoted", "passed"}, {"refused", "failed", "rolled back", "error"}
MAX_ITEMS = 40
WEAK = 0.05  # of the strongest attribution: words below it are not tinted
ROUGH = 0.25  # largest relative convergence error that a reader should trust


def number(value: float | None, bare: bool = False) -> str:
    """A share in percent with one decimal; a dash for None.

    Args:
        value: A share in [0, 1], or any number if `bare`.
        bare: Show the number itself instead of a percentage.

    >>> number(0.1234), number(0.0123, bare=True), number(None)
    ('12.3', '0.0123', '–')
    """
    if value is None:
        return "–"
    if not bare:
        return f"{100 * value:.1f}"
    return f"{value:.0f}" if abs(value) >= 2 else f"{value:.4f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference of shares in points, with its sign; a dash for None.

    >>> signed(0.012), signed(-0.012), signed(0.0012, 2)
    ('+1.2', '−1.2', '+0.12')
    """
    return "–" if value is None else f"{100 * value:+.{digits}f}".replace("-", "−")


def alpha(value: float) -> str:
    """An agreement with two decimals.

    >>> alpha(0.715), alpha(-0.004), alpha(-0.12)
    ('0.71', '0.00', '−0.12')
    """
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def percent(value: float) -> str:
    """A share in percent without trailing zeros.

    >>> percent(0.95), percent(0.999)
    ('95', '99.9')
    """
    return f"{100 * value:g}"


def measure(value: float | str | None, rule: Details) -> str:
    """A value of a promotion rule: F1 and similar shares in percent, other units unchanged."""
    if value is None or isinstance(value, str):
        return value or "–"
    metric = str(rule.get("metric") or "")
    share = any(name in metric for name in ("f1", "precision", "recall", "shared"))
    return number(value) if share else f"{value:.4g}"


def plain(value: Any) -> str:
    """Any JSON value on one line; lists are cut after `MAX_ITEMS`.

    >>> plain({"ids": ["a", "b"], "kept": True, "rest": None})
    'ids a, b, kept yes, rest –'
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        more = f" … ({len(value)} in all)" if len(value) > MAX_ITEMS else ""
        return (", ".join(plain(v) for v in value[:MAX_ITEMS]) or "none") + more
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items())
    return str(value)


def moment(text: str) -> str:
    """An ISO 8601 time in UTC for people; any other text unchanged.

    >>> moment("2026-11-26T13:53:28+00:00")
    '2026-11-26 13:53 UTC'
    """
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*?(?:\+00:00|Z)", text)
    return f"{found[1]} {found[2]} UTC" if found else text


def tone(verdict: str | None) -> str:
    """The CSS class that colors a verdict."""
    return "up" if verdict in GOOD else "down" if verdict in BAD else ""


def code(text: str) -> Markup:
    """Escaped text whose `backticks` become code.

    >>> code("Raise `n_draws` & repeat.")
    Markup('Raise <code>n_draws</code> &amp; repeat.')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def tinted(pieces: Sequence[Sequence[Any]]) -> list[tuple[str, float | None, float]]:
    """Attributed text with the strength of each tint.

    Args:
        pieces: (text, attribution or None) pairs, as in
            `longtail.report.attributions.Attribution`.

    Returns:
        (text, attribution, strength) triples. Strength is the attribution relative to the
        strongest one, in [-1, 1]; 0 where a piece is too weak to be tinted.
    """
    strongest = max((abs(v) for _, v in pieces if v is not None), default=0.0) or 1.0
    shares = [0.0 if v is None else v / strongest for _, v in pieces]
    return [
        (text, value, share if abs(share) >= WEAK else 0.0)
        for (text, value), share in zip(pieces, shares, strict=True)
    ]


def convergence(attribution: Details) -> str:
    """The convergence error of attributions, relative to the sum of their absolute values."""
    whole = attribution.get("total", 0.0)  # a report made by older code has none
    if whole <= 1e-6:
        return ""
    share = attribution["gap"] / whole
    rough = "; too rough to rely on: raise attribution_steps" if share > ROUGH else ""
    return f" ({100 * share:.1f}% of their absolute sum{rough})"


def escape_markdown(text: str) -> str:
    """Text on one line that Markdown shows unchanged."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))


FORMATS: dict[str, Callable[..., Any]] = {
    format_.__name__: format_
    for format_ in (number, signed, alpha, percent, measure, plain, tone, code, tinted, convergence)
}
