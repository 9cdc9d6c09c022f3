from __future__ import annotations

import pytest
from sklearn.model_selection import train_test_split

from longtail.corpora.reuters import freeze_validation, reuters_records
from longtail.errors import DataError, ParameterError


def story(number: int, split: str, topics: str, text: str = "", used: str = "YES") -> str:
    tags = "".join(f"<D>{topic}</D>" for topic in topics.split())
    body = text or f"<TITLE>T{number}</TITLE><BODY>body {number}</BODY>"
    return (
        f'<REUTERS TOPICS="{used}" LEWISSPLIT="{split}" CGISPLIT="X" OLDID="1" NEWID="{number}">\n'
        f"<TOPICS>{tags}</TOPICS><PLACES><D>mars</D></PLACES>\n"
        f"<TEXT>&#2;\n{text or body}</TEXT></REUTERS>\n"
    )


FILES = [
    "<!DOCTYPE x>\n"
    + story(10, "TRAIN", "tin zinc onlytrain")
    + story(2, "TRAIN", "zinc")
    + story(3, "TRAIN", "onlytrain"),
    story(4, "TEST", "tin onlytest")
    + story(5, "TEST", "zinc")
    + story(6, "NOT-USED", "tin")
    + story(7, "TEST", "tin", used="NO")
    + story(8, "TEST", ""),
]


def test_modapte_keeps_topics_of_both_parts_sorted_by_number():
    found = [(r["id"], r["split"], r["labels"]) for r in reuters_records(FILES)]
    assert found == [
        ("2", "train", ["zinc"]),
        ("4", "test", ["tin"]),
        ("5", "test", ["zinc"]),
        ("10", "train", ["tin", "zinc"]),
    ]


def test_text_is_title_and_body_without_entities_and_control_characters():
    text = "<TITLE>A &lt;B&gt; &amp;c</TITLE><DATELINE>X</DATELINE><BODY> 1\n2 &#3;&#31;\x05</BODY>"
    files = [story(1, "TRAIN", "tin", text), story(2, "TEST", "tin", "only &lt;text&gt;")]
    assert [r["text"] for r in reuters_records(files)] == ["A <B> &c\n1\n2", "only <text>"]


def test_no_story_is_rejected():
    with pytest.raises(DataError, match="No Reuters story"):
        reuters_records(["<html>not found</html>"])


def test_validation_is_scikit_learns_draw_from_train_alone():
    records = [
        {"id": str(i), "split": "test" if i % 3 == 0 else "train", "text": "", "labels": ["a"]}
        for i in range(300)
    ]
    frozen = freeze_validation(records, 40, 123)
    train = [r["id"] for r in records if r["split"] == "train"]
    kept, drawn = train_test_split(train, test_size=40, random_state=123)
    assert {r["id"] for r in frozen if r["split"] == "val"} == set(drawn)
    assert {r["id"] for r in frozen if r["split"] == "train"} == set(kept)
    assert [r["id"] for r in frozen if r["split"] == "test"] == [str(i) for i in range(0, 300, 3)]
    assert all(r["split"] != "val" for r in records)  # the input is left alone


@pytest.mark.parametrize("n_val", [0, -1, 200])
def test_validation_of_a_wrong_size_is_rejected(n_val: int):
    records = [{"id": str(i), "split": "train"} for i in range(200)]
    with pytest.raises(ParameterError, match="between 1 and 199"):
        freeze_validation(records, n_val, 0)
