"""Visible text: as the standard library finds it, but for every text and in linear time."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.corpora.visible_text import visible_text

INLINE = {"b", "a", "span"}  # of those drawn here


class Reference(HTMLParser):
    """The standard library's parser, which cannot read every text, and not in linear time."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in ("script", "style")
        self.parts += [] if tag in INLINE else ["\n"]

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in ("script", "style")))
        self.parts += [] if tag in INLINE else ["\n"]

    def handle_data(self, data: str) -> None:
        self.parts += [] if self.hidden else [data]


def by_the_library(text: str) -> str:
    parser = Reference()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


texts = st.text(alphabet="abc R&D; 12 é\n'\"=->/!", max_size=12)
entities = st.sampled_from(["&amp;", "&lt;b&gt;", "&#65;", "&#x41;", "&nbsp", "&", "&no;", " < 5"])
values = st.sampled_from(["", " x", ' y="a > b"', " z='<b>'", " w=bare", " checked", ' q = "1"'])
names = st.sampled_from(["p", "b", "BR", "div", "A", "h1", "span", "x-y"])
tags = st.builds(
    lambda open_, name, value, end: f"<{open_}{name}{'' if open_ else value}{end}>",
    st.sampled_from(["", "/"]), names, values, st.sampled_from(["", " ", " /"]),
)  # fmt: skip
whole = st.sampled_from([
    "<!-- a <b> -->", "<!DOCTYPE html>", "<?php x ?>", "<script>if (a < b) x('&amp;')</script>",
    "<style type='a'>p{}</style>", "<![CDATA[ c ]]>", "<script src='x' />",
])  # fmt: skip
documents = st.lists(st.one_of(texts, entities, tags, whole), max_size=12).map("".join)


@given(documents)
def test_whole_documents_read_as_the_standard_library_reads_them(text: str) -> None:
    assert visible_text(text) == by_the_library(text)


@given(st.text(alphabet="<>!-?[]/'\"= ab&#1;\n"))
def test_any_text_has_a_visible_one(text: str) -> None:
    assert isinstance(visible_text(text), str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price <![ 5", "price <![ 5"),
        ("a <!-- b", "a <!-- b"),
        ("a <b c", "a <b c"),
        ("x &#" + "9" * 5000 + "; y", "x \ufffd y"),
        ("a<script>b", "a\n"),
    ],
)
def test_what_is_no_markup_stays(text: str, expected: str) -> None:
    assert visible_text(text) == expected


HOSTILE = (
    "<!--", "<", "<!", "<a ", "<![", "<?", "</", "<a b='", '<a b="', "<script>", "<![CDATA[",
    "<!x ", "<a b='\" c=\"'", "=", "= ", "&", "&#", "<a b=' ",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_is_linear(piece: str) -> None:
    """The standard library's parser takes 14 s for 160,000 characters of `<!--`."""
    start = time.process_time()
    for end in ("", ">", "'", "'>", '">', "-->"):
        visible_text(piece * (100_000 // len(piece)) + end)
    assert time.process_time() - start < 5
