from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.corpora.normalize import NORMALIZERS, normalizer
from longtail.errors import ParameterError

CASES = [
    ("html", "<p>a&amp;b</p><script>x()</script> c<b>d</b>", "\na&b\n\n\n cd"),
    ("html", "1 < 2 and 3 > 2 &lt;tag&gt;", "1 < 2 and 3 > 2 <tag>"),
    ("html", "a<!-- no -->b<style>p{}</style>c<br>d", "ab\n\nc\nd"),
    ("nfc", "e\u0301 \u210c", "\u00e9 \u210c"),
    ("nfkc", "\ufb01ne \u210c \u0665", "fine H \u0665"),
    ("urls", "see https://example.org/a?b=c#d. Or www.example.org, ok", "see url. Or url, ok"),
    ("urls", "(HTTP://EXAMPLE.ORG/x) not httpx://y", "(url) not httpx://y"),
    ("digits", "A7 2026-11 \u0665", "A0 0000-00 0"),
    ("whitespace", "  a\t\u00a0b \r\n\n c\u200bd\ufeff ", "a b\ncd"),
]


@pytest.mark.parametrize(("step", "text", "expected"), CASES)
def test_step(step: str, text: str, expected: str):
    assert normalizer([step])(text) == expected


def test_every_step_has_a_case():
    assert {step for step, _, _ in CASES} == set(NORMALIZERS)


def test_order_is_fixed_whatever_the_order_given():
    text = "<p>https://example.org/2026</p>"
    assert normalizer(["digits", "urls", "whitespace", "html"])(text) == "url"


def test_no_step_changes_nothing():
    assert normalizer([])(" <b>x</b> 7 ") == " <b>x</b> 7 "


def test_unknown_step_names_the_valid_ones():
    with pytest.raises(ParameterError, match=r"'digit'.*Did you mean 'digits'.*whitespace"):
        normalizer(["digit"])


@pytest.mark.parametrize("step", [name for name in NORMALIZERS if name != "html"])
@given(st.text())
def test_twice_is_once(step: str, text: str):
    once = normalizer([step])(text)
    assert normalizer([step])(once) == once
