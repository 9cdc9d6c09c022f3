from __future__ import annotations

from longtail.corpora import debtags

TRANSLATION = """\
Package: alpha
Description-md5: 11
Description-en: Fast alpha
 It folds its lines
 over two.
 .
 Second paragraph:
  * one item
  * another

Package: beta
Description-md5: 22
Description-en: Plain beta
"""


def stanza(name: str, tags: str, **fields: str) -> str:
    lines = [f"Package: {name}", *(f"{key}: {value}" for key, value in fields.items())]
    return "\n".join([*lines, f"Tag: {tags}"]) + "\n"


def packages(*stanzas: str) -> str:
    filler = [stanza(f"filler{i}", "use::x, use::y, role::program") for i in range(4)]
    return "\n".join([*stanzas, *filler])


def test_text_labels_and_group_of_a_package():
    text = packages(
        "Package: alpha\nSource: alpha-src (1.2)\nDescription: short\nDescription-md5: 11\n"
        "Tag: use::x, role::program, scope::utility,\n use::y, implemented-in::c\n"
    )
    record = debtags.debtags_records(text, TRANSLATION)[0]
    assert record == {
        "id": "alpha",
        "text": "Fast alpha\nIt folds its lines over two.\n"
        "Second paragraph:\n* one item\n* another",
        "labels": ["use::x", "use::y"],
        "group": "alpha-src",
    }


def test_a_tag_is_kept_from_five_packages_on_and_packages_without_tags_are_dropped():
    text = packages(
        stanza("alpha", "use::x, rare::one"), stanza("only-rare", "rare::one"), "Package: bare\n"
    )
    records = debtags.debtags_records(text, "")
    assert [r["id"] for r in records] == ["alpha", "filler0", "filler1", "filler2", "filler3"]
    # use::x has five packages; use::y and rare::one have four and two.
    assert all(r["labels"] == ["use::x"] for r in records)


def test_libraries_are_left_out_before_tags_are_counted():
    for role in sorted(debtags.DROPPED_ROLES):
        text = packages(stanza("library", f"use::x, {role}"))
        assert debtags.debtags_records(text, "") == [], role  # use::x is left with four


def test_no_dropped_facet_is_a_label():
    for facet in sorted(debtags.DROPPED_FACETS):
        text = packages(stanza("alpha", "use::x")).replace("use::y", f"{facet}::z")
        labels = {label for r in debtags.debtags_records(text, "") for label in r["labels"]}
        assert labels == {"use::x"}, facet


def test_the_order_of_the_index_does_not_matter_and_the_first_version_counts():
    stanzas = [stanza("beta", "use::x"), stanza("alpha", "use::x")]
    forward = debtags.debtags_records(packages(*stanzas), TRANSLATION)
    assert forward == debtags.debtags_records(packages(*reversed(stanzas)), TRANSLATION)
    twice = [stanza("alpha", "use::x", Description="new"), stanza("alpha", "use::x")]
    assert debtags.debtags_records(packages(*twice), "")[0]["text"] == "new"


def test_a_description_without_translation_is_the_short_one():
    text = packages(stanza("alpha", "use::x", **{"Description": "short", "Description-md5": "99"}))
    assert debtags.debtags_records(text, TRANSLATION)[0]["text"] == "short"
