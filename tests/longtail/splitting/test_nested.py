"""Nested subsets: the oldest documents first, copies of a moment at random."""

from __future__ import annotations

import numpy as np

from longtail.splitting.nested import nested

NAT = np.datetime64("NaT", "us")


def test_without_dates_the_order_is_random_and_the_subsets_are_nested() -> None:
    found = nested(np.full(1600, NAT), 0)
    assert [len(rows) for rows in found] == [100, 200, 400, 800]
    for small, large in zip(found, found[1:], strict=False):
        assert set(small) < set(large)
    assert 700 < found[0].mean() < 900 and not np.array_equal(
        found[0], nested(np.full(1600, NAT), 1)[0]
    )


def test_documents_without_a_date_are_the_oldest_and_the_last_month_is_a_step() -> None:
    days = np.datetime64("2026-01-01", "us") + np.arange(400) * np.timedelta64(1, "D")
    days = days[::-1].copy()  # the newest first
    days[:10] = NAT
    *_, half, older = nested(days, 0)
    assert set(range(10)) < set(half) and len(half) == 200
    assert set(np.arange(400)) - set(older) == set(range(10, 40))  # the last 30 days


def test_a_month_that_is_most_of_the_corpus_is_no_step_and_few_documents_are_no_subset() -> None:
    days = np.datetime64("2026-01-01", "us") + np.arange(100) % 20 * np.timedelta64(1, "D")
    assert [len(rows) for rows in nested(days, 0)] == [25, 50]
    assert nested(np.full(30, NAT), 0) == []
