"""The text of an HTML document that a browser would show, in time linear in its length."""

from __future__ import annotations

import html
import re
from bisect import bisect_left

_OPENING = re.compile(r"<[a-zA-Z/!?]")
# A quote counts only as the first character of an attribute's value.
_TAG_PART = re.compile(r"""(>)|=\s*(["'])""")
_TAG_NAME = re.compile(r"</?([a-zA-Z][^\s/>\x00]*)")
_HIDDEN_ELEMENTS = ("script", "style")
_INLINE_ELEMENTS = frozenset(
    ("a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "kbd", "mark", "s", "small",
     "span", "strong", "sub", "sup", "tt", "u", "var", "wbr")
)  # fmt: skip
_LONG_NUMBER = re.compile(r"&#[0-9]{20,};?")  # far beyond the last character


def visible_text(text: str) -> str:
    """Text without HTML tags, comments, scripts and styles; entities become characters.

    All tags but inline ones separate words. A `<` that does not open a tag, or one that does not
    end, stays (`a < b`); `<NAME>` is read as a tag and removed.

    >>> visible_text("<b>R&amp;D</b>: a < b")
    'R&D: a < b'
    """
    if "<" not in text:
        return _unescaped(text)
    document, parts = _Document(text), []
    start = position = 0  # of the text not yet taken, and of the search
    while found := _OPENING.search(text, position):
        opening = found.start()
        end = document.end_of(opening)
        if end < 0:
            position = opening + 1
            continue
        parts.append(_unescaped(text[start:opening]))
        if name := _TAG_NAME.match(text, opening, end):
            tag, opens = name[1].lower(), text[opening + 1] != "/"
            whole = opens and text[end - 2] == "/"  # it opens and closes
            if tag not in _INLINE_ELEMENTS:
                parts.append("\n\n" if whole else "\n")
            if tag in _HIDDEN_ELEMENTS and opens and not whole:
                end = document.end_of_hidden(tag, end)
        start = position = end
    return "".join([*parts, _unescaped(text[start:])])


def _unescaped(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text)) if "&" in text else text


class _Document:
    """Finds where tags and comments end, and remembers where they do not.

    What follows one `<` without an end would else be searched again from each of the others.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = [
            (part.start(), part.end(), part[2] or "") for part in _TAG_PART.finditer(text)
        ]
        self.starts = [start for start, _, _ in self.parts]
        self.endless: set[int] = set()  # parts from which no tag ends
        self.absent: set[str] = set()  # signs that do not occur any more

    def end_of(self, opening: int) -> int:
        """The end of the tag, comment or declaration that begins at `opening`; -1 if it is none."""
        text = self.text
        if text.startswith("<!--", opening):
            return self._after("-->", opening + 4)
        if text.startswith("<![", opening):
            if not text[opening + 3 : opening + 4].isalpha():
                return -1
            section = text.startswith("<![CDATA[", opening)
            return self._after("]]>" if section else ">", opening)
        if text.startswith(("<!", "<?", "</"), opening):
            return self._after(">", opening)
        return self._end_of_tag(opening)

    def end_of_hidden(self, tag: str, start: int) -> int:
        """Where the content of a script or a style ends, that of the document at the latest."""
        closing = re.compile(f"</{tag}\\b", re.IGNORECASE).search(self.text, start)
        return closing.start() if closing else len(self.text)

    def _after(self, sign: str, start: int) -> int:
        if sign in self.absent:
            return -1
        found = self.text.find(sign, start)
        if found < 0:
            self.absent.add(sign)
            return -1
        return found + len(sign)

    def _end_of_tag(self, opening: int) -> int:
        seen, i = [], bisect_left(self.starts, opening)
        while i < len(self.parts) and i not in self.endless:
            _, end, quote = self.parts[i]
            if not quote:
                return end
            seen.append(i)
            close = self.text.find(quote, end)
            if close < 0:
                break
            i = bisect_left(self.starts, close + 1)
        self.endless.update(seen)
        return -1
