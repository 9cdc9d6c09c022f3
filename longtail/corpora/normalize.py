"""Optional normalization of texts: small named steps, applied in a fixed order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from html.parser import HTMLParser

from longtail.errors import unknown_name

_URL = re.compile(r"(?:\bhttps?://|\bwww\.)\S*[^\s.,;:!?)\]}>'\"]", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad]")
_HIDDEN_ELEMENTS = ("script", "style")
_INLINE_ELEMENT = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|em|font|i|kbd|mark|s|small|span|strong|sub|sup|tt|u|var|wbr"
)


class _VisibleText(HTMLParser):
    """Collects the text that a browser would show; all but inline elements separate words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in _HIDDEN_ELEMENTS
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in _HIDDEN_ELEMENTS))
        self._part(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)

    def _part(self, tag: str) -> None:
        if not _INLINE_ELEMENT.fullmatch(tag):
            self.parts.append("\n")


def visible_text(text: str) -> str:
    """Text without HTML tags, comments, scripts and styles; entities become characters.

    A `<` that does not open a tag stays (`a < b`); `<NAME>` is read as a tag and removed.

    >>> visible_text("<b>R&amp;D</b>: a < b")
    'R&D: a < b'
    """
    parser = _VisibleText()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


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
