"""`data/labels.yaml`: what is read, and one sentence for everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components._formats.labels_file import AllowedLabels, read_allowed
from longtail.errors import DataError
from longtail.validation.label_history import Fate

WHOLE = """
labels: [billing, delivery, inkjet, laser, warranty]
aliases: {inkjets: inkjet}
history:
  - {date: 2026-03-05, renamed: {bill: billing}, reason: the word of the new guideline}
  - date: 2026-03-01
    merged: {invoice: bill, "no": bill}
    reason: nobody could tell them apart
  - {date: "2026-04-01", split: {printers: [inkjet, laser]}, reason: different teams}
  - {date: 2026-04-01 10:00:00, retired: [misc, other], reason: meant everything}
  - {date: 2026-05-01, added: [warranty], reason: a new product}
"""


def read(folder: Path, text: str) -> AllowedLabels:
    path = folder / "labels.yaml"
    path.write_text(text, encoding="utf-8")
    return read_allowed(path)


def test_a_whole_file(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found.fates == {
        "invoice": Fate(("billing",)),
        "no": Fate(("billing",)),
        "bill": Fate(("billing",)),
        "printers": Fate(("inkjet", "laser"), True),
        "misc": Fate(()),
        "other": Fate(()),
    }
    assert [change.date.isoformat()[5:] for change in found.history] == [
        "03-01", "03-01", "03-05", "04-01", "04-01", "04-01", "05-01",
    ]  # fmt: skip
    # A document keeps a label that was split until somebody has looked at it.
    assert found.labels == {"billing", "delivery", "inkjet", "laser", "warranty", "printers"}
    assert found.aliases == {"inkjets": "inkjet"}


def test_no_file_and_an_empty_history(tmp_path: Path) -> None:
    assert read_allowed(tmp_path / "labels.yaml") == read(tmp_path, "history:") == AllowedLabels()


def test_labels_that_a_model_does_not_know(tmp_path: Path) -> None:
    described = "labels: [a, b]\ndescriptions: {b: what b means, a: 'what a means'}\n"
    found = read(tmp_path, described)
    assert found.descriptions == {"a": "what a means", "b": "what b means"}
    assert found.unlearned(["a"]) == ["b"] and found.unlearned(["b", "a"]) == []
    # What it knows under an old name is known; what a label was split into is not.
    whole = read(tmp_path, WHOLE)
    assert whole.unlearned(["invoice", "delivery"]) == ["inkjet", "laser", "warranty"]
    assert whole.unlearned(["printers", "misc"]) == [
        "billing", "delivery", "inkjet", "laser", "warranty",
    ]  # fmt: skip
    assert read(tmp_path, "descriptions: {c: new}").unlearned([]) == ["c"]
    # An alias that was a label when the model learned it.
    assert read(tmp_path, "labels: [web, net]\naliases: {www: web}").unlearned(["www"]) == ["net"]
    assert AllowedLabels().unlearned(["a"]) == []


DAY = "date: 2026-03-01, reason: why"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("descriptions: [a]", "'descriptions' must map labels to strings"),
        ("descriptions: {a: 1}", "'descriptions' must map labels to strings; quote numbers"),
        ("descriptions: {a: ' '}", "describes 'a' by ' '; expected an allowed label, and words"),
        ("labels: [a]\ndescriptions: {b: x}", "describes 'b' by 'x'; expected an allowed label"),
        (f"descriptions: {{a: x}}\nhistory: [{{retired: [a], {DAY}}}]", "'a', which is gone by"),
        ("history: []\nlabels: [a]\nhistory: []", "the key 'history' appears 2 times"),
        (f"history: [{{{DAY}, renamed: {{a: b, a: c}}}}]", "the key 'a' appears 2 times"),
        ("history: {a: b}", "'history' must be a list of changes, got a dict"),
        ("history: [a]", "history, entry 1: expected 'date', 'reason', and one of 'renamed', "
         "'merged', 'split', 'retired', 'added'; got a str."),
        ("history: [{date: 2026-03-01, renamed: {a: b}}]", "got 'date', 'renamed'."),
        (f"history: [{{{DAY}, renamed: {{a: b}}, retired: [c]}}]", "one of 'renamed'"),
        (f"history: [{{{DAY}, rename: {{a: b}}}}]", "got 'date', 'reason', 'rename'."),
        ("history: [{date: May, reason: why, retired: [a]}]", "'date': expected a day, such as"),
        ("history: [{date: 7, reason: why, retired: [a]}]", "'date': expected a day, such as"),
        ("history: [{date: 2026-03-01, reason: ' ', retired: [a]}]", "'reason': expected a sen"),
        (f"history: [{{{DAY}, renamed: [a, b]}}]", "expected old: new, such as {invoice: bil"),
        (f"history: [{{{DAY}, renamed: {{a: [b]}}}}]", "'renamed': expected old: new"),
        (f"history: [{{{DAY}, renamed: {{no: b}}}}]", "quote numbers, yes and no"),
        (f"history: [{{{DAY}, split: {{a: b}}}}]", "'split': expected old: [new, new]"),
        (f"history: [{{{DAY}, retired: {{a: b}}}}]", "'retired': expected a list of labels"),
        (f"history: [{{{DAY}, retired: []}}]", "'retired': expected a list of labels"),
        (f"history: [{{{DAY}, added: [' a']}}]", "without blanks around them"),
        (f"history: [{{{DAY}, added: ['']}}]", "without blanks around them"),
        (f"history: [{{{DAY}, split: {{a: [b]}}}}]", "history: 'a' was split into 'b' on 2026"),
        (f"history: [{{{DAY}, renamed: {{a: b, b: a}}}}]", "a cycle; remove one of the changes"),
        (f"labels: [a, b]\nhistory: [{{{DAY}, merged: {{a: b}}}}]",
         "'labels' lists 'a', gone by the history; remove them"),
        (f"labels: [c]\nhistory: [{{{DAY}, merged: {{a: b}}}}]",
         "the history made 'b', which 'labels' does not list; add them"),
        (f"aliases: {{a: c}}\nhistory: [{{{DAY}, merged: {{a: b}}}}]",
         "'a' is an alias, and the history names it as a label"),
        (f"aliases: {{b: c}}\nhistory: [{{{DAY}, merged: {{a: b}}}}]", "'b' is an alias"),
        (f"aliases: {{c: a}}\nhistory: [{{{DAY}, merged: {{a: b}}}}]",
         "alias 'c' points to 'a', which is gone by the history"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "labels.yaml"))


def test_a_long_list_makes_no_long_message(tmp_path: Path) -> None:
    names = ", ".join(f"label{i}" for i in range(5000))
    with pytest.raises(DataError) as caught:
        read(tmp_path, f"history: [{{{DAY}, split: {{a: [{names}, a]}}}}]")
    assert len(str(caught.value)) - len(str(tmp_path)) < 400
