"""Guesses a text's language from its script and its most frequent function words.

Rough on purpose: good enough to find a German letter in an English corpus, without a model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

CHARACTERS_READ = 5000  # of each text: enough to tell its language
LEAST_MATCHES = 3  # function words of the winner; fewer mean nothing
LEAST_SHARE = 0.05  # of all words; running text has about 0.2
LEAST_LETTERS = 10

_FUNCTION_WORDS = {
    "english": "the of and to is that for with this from are was which by it",
    "german": "der die und das ist nicht mit von den ein eine für auf dem sich",
    "french": "le les des est une dans que pour qui pas sur avec du et au",
    "spanish": "el los las una que por para con del es en se como más ya",
    "italian": "il gli che di per una con della sono non è del nel dei si",
    "portuguese": "os as que uma para com não do da em dos por é mais ao",
    "dutch": "het een van en dat niet op voor met zijn de aan ook bij naar",
    "polish": "nie się na że jest do to jak za od po przez są lub oraz",
}
FUNCTION_WORDS = {name: frozenset(words.split()) for name, words in _FUNCTION_WORDS.items()}
SCRIPTS: dict[str, re.Pattern[str]] = {
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
    "cyrillic": re.compile(r"[\u0400-\u052f]"),
    "greek": re.compile(r"[\u0370-\u03ff]"),
    "arabic": re.compile(r"[\u0600-\u06ff]"),
    "hebrew": re.compile(r"[\u0590-\u05ff]"),
    "devanagari": re.compile(r"[\u0900-\u097f]"),
    "hangul": re.compile(r"[\uac00-\ud7af]"),
    "kana": re.compile(r"[\u3040-\u30ff]"),
    "han": re.compile(r"[\u4e00-\u9fff]"),
}
_WORD = re.compile(r"[^\W\d_]+")


def language(text: str) -> str | None:
    """The language of `text`, its script if that is not Latin, or None if it is unclear.

    Latin text is in the language whose function words are most frequent, if there are at least
    three of them, one in twenty words, and a quarter more than the runner-up's.

    >>> language("The tools of this package are for the analysis of data from the web")
    'english'
    """
    text = text[:CHARACTERS_READ]
    script = _script(text)
    if script != "latin":
        return script
    words = Counter(_WORD.findall(text.lower()))
    hits = sorted((sum(words[w] for w in own), name) for name, own in FUNCTION_WORDS.items())
    (second, _), (first, name) = hits[-2:]
    least = max(LEAST_MATCHES, LEAST_SHARE * words.total(), 1.25 * second)
    return name if first >= least else None


def _script(text: str) -> str | None:
    letters = {name: len(pattern.findall(text)) for name, pattern in SCRIPTS.items()}
    name = max(letters, key=lambda key: letters[key])
    if letters["kana"] and name == "han":
        name = "kana"  # Japanese writes both
    return name if letters[name] >= LEAST_LETTERS else None


def in_unusual_language(languages: Sequence[str | None], usual_share: float) -> np.ndarray:
    """Flag documents in a language that few others use, `(n_docs,)` bool.

    Args:
        languages: the language of each document, None where it is unclear.
        usual_share: share of the documents of known language from which a language is usual, 0 to
            1. The most common language always is; documents of unclear language are not flagged.
    """
    counts = Counter(name for name in languages if name is not None)
    total = sum(counts.values())
    usual = {name for name, n in counts.items() if n >= usual_share * total}
    usual |= {name for name, _ in counts.most_common(1)}
    return np.array([name is not None and name not in usual for name in languages], dtype=bool)
