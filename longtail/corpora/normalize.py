"""Optional normalization of texts: small named steps, applied in a fixed order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from longtail.corpora.visible_text import visible_text
from longtail.errors import unknown_name

_URL = re.compile(r"(?:\bhttps?://|\bwww\.)\S*[^\s.,;:!?)\]}>'\"]", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad]")


def collapse_whitespace(text: str) -> str:
    """Collapse runs of blanks and of line breaks to one each; remove invisible characters."""
    lines = (" ".join(line.split()) for line in _INVISIBLE.sub("", text).splitlines())
    return "\n".join(line for line in lines if line)


# In the order of application.
NORMALIZERS: dict[str, Callable[[str], str]] = {
    "html": visible_text,
    "nfc": lambda text: unicodedata.normalize("NFC", text),
    "nfkc": lambda text: unicodedata.normalize("NFKC", text),
    "urls": lambda text: _URL.sub("url", text),
    "digits": lambda text: _DIGIT.sub("0", text),
    "whitespace": collapse_whitespace,
}


def normalizer(steps: Iterable[str]) -> Callable[[str], str]:
    """One function for the named steps.

    Args:
        steps: keys of `NORMALIZERS`, in any order; they are applied in the order of `NORMALIZERS`.

    Raises:
        ParameterError: a step is unknown.

    >>> normalizer(["digits", "urls", "whitespace"])("See  https://a.org, page 12")
    'See url, page 00'
    """
    wanted = list(steps)
    for step in wanted:
        if step not in NORMALIZERS:
            raise unknown_name("normalization step", step, NORMALIZERS)
    chosen = [function for name, function in NORMALIZERS.items() if name in wanted]

    def normalize(text: str) -> str:
        for function in chosen:
            text = function(text)
        return text

    return normalize
