"""Finds traces of wrong decoding in texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

# What bytes 80-BF of a UTF-8 sequence become when read as Windows-1252 (Latin-1 leaves 80-9F as C1
# controls).
_HIGH = "".join(bytes([b]).decode("cp1252", "ignore") for b in range(0x80, 0xA0))
_CONTINUATION = rf"[\u0080-\u00bf{re.escape(_HIGH)}]"

# Â and Ã before such a character hardly ever occur in real text, nor does â before two of them.
# Other lead bytes are real capitals in some language, so only two sequences in a row count.
MOJIBAKE = re.compile(
    rf"[ÂÃ]{_CONTINUATION}|â{_CONTINUATION}{{2}}|ð{_CONTINUATION}{{3}}"
    rf"|(?:[\u00c4-\u00df]{_CONTINUATION}){{2}}"
)
REPLACEMENT = re.compile("\ufffd")
# All of C0 except tab, line feed, form feed (page breaks in plain-text files) and carriage return;
# DEL; C1.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def contains(pattern: re.Pattern[str], texts: Sequence[str]) -> np.ndarray:
    """Whether each text contains `pattern`, `(n_docs,)` bool."""
    return np.fromiter((pattern.search(text) is not None for text in texts), bool, len(texts))
