"""Finds texts that occur twice, exactly (except for case and punctuation) or nearly."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp

CHARACTERS_READ = 50_000  # of each text, for near duplicates: bounds the cost per document
SHINGLE = 3  # words
BANDS, ROWS = 16, 8  # two texts that share 80 % of their shingles meet with probability 0.947
_PRIME = np.uint64((1 << 31) - 1)
# Scripts that write no spaces between words: Thai, Lao, Myanmar, Khmer, kana, and Han.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_WORD = re.compile(f"[{UNSPACED}]|[^ {UNSPACED}]+")


def text_keys(texts: Sequence[str]) -> list[str]:
    """Texts in lower case, with every run of non-word characters as one space.

    A text without a single word character gets the key "" and is not a duplicate of any other.

    >>> text_keys(["Hello, world!", "hello world", "?"])
    ['hello world', 'hello world', '']
    """
    return [re.sub(r"\W+", " ", text.lower()).strip() for text in texts]


def words(key: str) -> list[str]:
    """The words of a key of `text_keys`.

    In scripts without spaces between words each character is one, as in Lucene's analyzers for
    Chinese and Japanese. Three of them are about as telling as two words of a European language.

    >>> words("gpu搭載 pc")
    ['gpu', '搭', '載', 'pc']
    """
    return _WORD.findall(key)


def duplicate_groups(keys: Sequence[str]) -> np.ndarray:
    """Each document's group of equal keys, −1 if its key is unique or empty, `(n_docs,)` int."""
    codes = _codes(keys)
    blank = np.array([key == "" for key in keys], dtype=bool)
    alone = (np.bincount(codes)[codes] == 1) | blank
    group = np.full(len(codes), -1)
    group[~alone] = np.unique(codes[~alone], return_inverse=True)[1]
    return group


def _codes(values: Sequence[Hashable]) -> np.ndarray:
    """Number equal values alike, starting from 0; `(n,)` int."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)


def mixed_groups(group: np.ndarray, values: Sequence[Hashable | None]) -> np.ndarray:
    """Flag documents of groups (≥ 0) whose `values` differ, `(n_docs,)` bool; None is ignored."""
    known = (group >= 0) & np.array([value is not None for value in values], dtype=bool)
    pairs = np.unique(np.stack([group, _codes(values)])[:, known], axis=1)
    kinds = np.bincount(pairs[0], minlength=int(group.max(initial=-1)) + 2)
    return (group >= 0) & (kinds[group] > 1)


def near_duplicate_pairs(keys: Sequence[str], similarity: float, seed: int = 0) -> np.ndarray:
    """Find pairs of documents whose sets of three-word shingles are similar.

    MinHash with locality-sensitive hashing (Broder 1997; Indyk and Motwani 1998): candidates share
    one of 16 bands of 8 hashes and are then compared exactly. Within a bucket, each document is
    compared only with the first one and with its neighbor, so the cost grows with the number of
    documents no matter how many copies of a form letter there are; the pairs found still connect
    the bucket. Exact duplicates of an earlier document and texts of fewer than three words (see
    `words`) within the first 50,000 characters are left out.

    Args:
        keys: see `text_keys`.
        similarity: least Jaccard index, 0 to 1.
        seed: of the hashes.

    Returns:
        `(n_pairs, 2)` int, first index < second.
    """
    none = np.zeros((0, 2), dtype=np.int64)
    if not len(keys):
        return none
    first = np.sort(np.unique(_codes(keys), return_index=True)[1])
    triples = _shingles([keys[i][:CHARACTERS_READ] for i in first])
    some = np.diff(triples.indptr) > 0
    kept, shingles = first[some], triples[some]
    if len(kept) < 2:
        return none
    pairs = _candidates(_min_hashes(shingles, seed))
    pairs = pairs[_jaccard(shingles, pairs) >= similarity]
    return kept[pairs]


def _shingles(keys: Sequence[str]) -> sp.csr_matrix:
    from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to load

    vectorizer = HashingVectorizer(
        analyzer=_word_triples,
        n_features=2**30,
        norm=None,
        alternate_sign=False,
        binary=True,
        dtype=np.float32,
    )
    return vectorizer.transform(keys).tocsr()


def _word_triples(key: str) -> list[str]:
    given = words(key)
    return [" ".join(given[i : i + SHINGLE]) for i in range(len(given) - SHINGLE + 1)]


def _min_hashes(shingles: sp.csr_matrix, seed: int) -> np.ndarray:
    """The minimum of each random hash over a row's shingles, `(n_docs, BANDS · ROWS)` uint32.

    Every row must have a shingle: `reduceat` gives an empty one its neighbor's value.
    """
    rng = np.random.default_rng(seed)
    factor = rng.integers(1, int(_PRIME), BANDS * ROWS, dtype=np.uint64)
    shift = rng.integers(0, int(_PRIME), BANDS * ROWS, dtype=np.uint64)
    values = shingles.indices.astype(np.uint64)
    starts = shingles.indptr[:-1]
    hashes = np.empty((len(starts), BANDS * ROWS), dtype=np.uint32)
    for column, (a, b) in enumerate(zip(factor, shift, strict=True)):
        hashes[:, column] = np.minimum.reduceat((values * a + b) % _PRIME, starts)
    return hashes


def _candidates(hashes: np.ndarray) -> np.ndarray:
    """Pairs that share a band: each document of a bucket with its first and with the next one."""
    mix = np.random.default_rng(0).integers(1, 2**63, ROWS, dtype=np.uint64)
    found = []
    for band in range(BANDS):
        rows = hashes[:, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        bucket = rows @ mix  # modulo 2⁶⁴
        order = np.argsort(bucket, kind="stable")
        same = np.flatnonzero(bucket[order][1:] == bucket[order][:-1])
        starts = np.concatenate([[True], bucket[order][1:] != bucket[order][:-1]])
        head = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        found.append(np.stack([order[same], order[same + 1]], axis=1))
        found.append(np.stack([head[same + 1], order[same + 1]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return np.unique(pairs, axis=0) if len(pairs) else pairs


def _jaccard(shingles: sp.csr_matrix, pairs: np.ndarray, block: int = 20_000) -> np.ndarray:
    size = np.diff(shingles.indptr)
    result = np.zeros(len(pairs))
    for start in range(0, len(pairs), block):
        a, b = pairs[start : start + block].T
        common = np.asarray(shingles[a].multiply(shingles[b]).sum(axis=1)).ravel()
        result[start : start + block] = common / (size[a] + size[b] - common)
    return result
