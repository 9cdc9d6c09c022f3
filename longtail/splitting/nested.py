"""Nested subsets of the documents learned from, for a learning curve: the oldest come first."""

from __future__ import annotations

import numpy as np

from longtail.splitting.rounds import Rows

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # each point learns from twice as many
MONTH = np.timedelta64(30, "D")
LEAST = 20  # documents in a subset


def nested(dates: np.ndarray, seed: int) -> list[Rows]:
    """Rows of each subset but the whole, the smallest subset first.

    They hold a sixteenth, an eighth, a quarter and half of the documents and, where dates tell,
    all but those of the last 30 days, if these are less than half. Among documents of one moment,
    and without dates, the order is random.

    Args:
        dates: `(n_docs,)` datetime64; NaT counts as older than every date.
        seed: of the random order.

    >>> days = np.datetime64("2026-01-01") + np.arange(320)
    >>> [len(rows) for rows in nested(days, 0)], nested(days, 0)[0].tolist() == list(range(20))
    ([20, 40, 80, 160, 290], True)
    """
    n_docs = len(dates)
    sizes = [int(share * n_docs) for share in SHARES]
    known = dates[~np.isnat(dates)]
    if len(known):
        older = n_docs - int((known > known.max() - MONTH).sum())
        sizes += [older] if n_docs / 2 < older < n_docs else []
    days = dates.astype("datetime64[us]").astype(np.int64)  # NaT is the smallest number
    order = np.lexsort((np.random.default_rng(seed).permutation(n_docs), days))
    return [np.sort(order[:size]) for size in dict.fromkeys(sizes) if size >= LEAST]
