"""Sharing work among ranks, with a list in place of their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from longtail.models import ranks


def test_alone_a_process_does_everything() -> None:
    array = np.arange(3.0)
    ranks.fill_from_first(array)
    assert (ranks.rank(), ranks.n_ranks(), ranks.of_first(lambda: 7)) == (0, 1, 7)
    assert ranks.shared(lambda items: [2 * item for item in items], range(3)) == [0, 2, 4]
    assert array.tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 7])
def test_each_item_is_done_once_and_every_rank_gets_all_in_order(
    n_items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    sent: list[list[int]] = [[], [], []]

    def work(items: Sequence[int]) -> list[int]:
        done.extend(items)
        return [10 * item for item in items]

    def gather(every: list[Any], mine: list[int]) -> None:
        sent[ranks.rank()] = mine
        every[:] = sent

    monkeypatch.setattr(ranks, "n_ranks", lambda: 3)
    monkeypatch.setattr(ranks.distributed, "all_gather_object", gather)

    def on_rank(number: int) -> list[int] | None:
        monkeypatch.setattr(ranks, "rank", lambda: number)
        try:
            return ranks.shared(work, range(n_items))
        except IndexError:  # the first round only collects what is sent
            return None

    for number in range(3):
        on_rank(number)
    assert sorted(done) == list(range(n_items))
    assert [on_rank(number) for number in range(3)] == 3 * [[10 * i for i in range(n_items)]]
