"""What of a pool is left out, by hand and for any texts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.annotation.pool import (
    COPY,
    KEPT,
    KNOWN,
    NEAR_COPY,
    NEAR_KNOWN,
    NO_WORD,
    left_out,
)

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
OTHER = "a quite different text about nothing in particular which nobody ever wrote before today"


def test_each_reason_by_hand() -> None:
    pool = {
        "old": "new text",  # its id is labeled
        "a": LONG.upper() + "!",  # its text is labeled
        "b": LONG + " fifteen",  # 12 of 13 triples are labeled
        "c": "?!",
        "d": OTHER,
        "e": OTHER + ".",
        "f": OTHER + " indeed",
        "g": "three words only",
        "h": "another three words",
    }
    why = left_out(["old", "old2"], ["x", LONG], list(pool), list(pool.values()), 0.8)
    assert why.tolist() == [
        KNOWN, KNOWN, NEAR_KNOWN, NO_WORD, KEPT, COPY, NEAR_COPY, KEPT, KEPT,
    ]  # fmt: skip
    # Without anything labeled, only copies of each other are left out.
    assert [r for r in left_out([], [], list(pool), list(pool.values()), 0.8) if r] == [
        NEAR_COPY, NO_WORD, COPY, NEAR_COPY,
    ]  # fmt: skip


texts = st.lists(st.text(alphabet="ab ?", max_size=8), max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts, texts)
def test_what_is_kept_is_new(known: list[str], pool: list[str]) -> None:
    names = [f"pool-{row}" for row in range(len(pool))]
    why = left_out([f"known-{row}" for row in range(len(known))], known, names, pool, 0.8)
    kept = [" ".join(text.replace("?", " ").split()) for text, r in zip(pool, why, strict=True)
            if r == KEPT]  # fmt: skip
    assert len(kept) == len(set(kept)) and "" not in kept
    assert not set(kept) & {" ".join(text.replace("?", " ").split()) for text in known}
    # What is kept is kept again, and nothing more than copies is lost.
    left = [text for text, r in zip(pool, why, strict=True) if r == KEPT]
    assert set(left_out([], [], left, left, 0.8)) <= {KEPT}
