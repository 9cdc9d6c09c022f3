"""The stage on small corpora: what it writes, what it refuses, and why."""

from __future__ import annotations

import csv
import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components._formats.choices import (
    Basis,
    ChoiceRecord,
    Choices,
    read_choices,
    write_choices,
)
from components._formats.corpus import write_corpus
from components._validate_params import LimitParams
from components.validate import Params, run
from longtail.errors import DataError
from longtail.validation.corpus_view import Limits
from longtail.validation.label_cleaning import REPAIRS
from longtail.validation.rules import RULES
from tests.builders.params import stage_params

WORDS = "anchor basket candle dragon engine falcon garden hammer island jacket".split()  # noqa: SIM905


def records(n_docs: int = 40) -> list[dict[str, Any]]:
    return [
        {
            "id": f"d{k:02}",
            "text": f"{WORDS[k % 10]} {WORDS[k // 10]} number {k} of the series",
            "labels": ["odd" if k % 2 else "even"],
            "source": "test",
        }
        for k in range(n_docs)
    ]


class Stage:
    """`validate` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data, out = folder / "data", folder / "out"
        self.data.mkdir()
        names = ("corpus.parquet", "quarantine.parquet", "findings.json", "data_docs")
        self.corpus, self.quarantine, self.findings, self.data_docs = (out / n for n in names)
        self.suspects, self.choices = out / "suspects.csv", out / "choices.json"
        self.label_weights = out / "label_weights.parquet"

    def run(self, rows: list[dict[str, Any]], **params: Any) -> dict[str, Any]:
        write_corpus(pd.DataFrame(rows), self.data / "corpus.parquet")
        return self.rerun(**params)

    def rerun(self, **params: Any) -> dict[str, Any]:
        run(
            data=self.data,
            corpus=self.corpus,
            quarantine=self.quarantine,
            findings=self.findings,
            data_docs=self.data_docs,
            suspects=self.suspects,
            choices=self.choices,
            label_weights=self.label_weights,
            params=stage_params(Params, "validate", params),
        )
        return self.read_findings()

    def read_findings(self) -> dict[str, Any]:
        return json.loads(self.findings.read_text(encoding="utf-8"))

    def refused(self, rows: list[dict[str, Any]], match: str, **params: Any) -> dict[str, Any]:
        with pytest.raises(DataError, match=match):
            self.run(rows, **params)
        assert not self.corpus.exists() and not self.quarantine.exists()
        assert (self.data_docs / "index.html").exists()
        found = self.read_findings()
        assert found["outcome"]["status"] == "refused"
        return found


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def rule(found: dict[str, Any], code: str) -> dict[str, Any]:
    [row] = [row for row in found["rules"] if row["code"] == code]
    return row


def test_params_name_every_rule_once_and_every_limit() -> None:
    policy = stage_params(Params, "validate").policy
    codes = [code for family in policy.model_dump().values() for code in family]
    assert sorted(codes) == sorted(RULES)
    repairable = {code for code, chosen in policy.by_code().items() if chosen == "repair"}
    assert repairable == set(REPAIRS) == {code for code, rule in RULES.items() if rule.repairs}
    assert set(LimitParams.model_fields) == set(Limits.__dataclass_fields__)


def test_a_clean_corpus_comes_out_as_it_went_in(stage: Stage) -> None:
    found = stage.run(records())
    read, written = (pq.read_table(p) for p in (stage.data / "corpus.parquet", stage.corpus))
    assert written.equals(read)
    assert pq.read_table(stage.quarantine).num_rows == 0
    assert found["outcome"] == {"status": "passed", "why": None}
    assert found["counts"] == {"in": 40, "out": 40, "quarantined": 0}
    applicable = [r for r in found["rules"] if r["status"] != "not applicable"]
    assert found["expectations"]["declared"] == found["expectations"]["executed"]
    assert found["expectations"]["executed"] == len(applicable) >= 12
    assert {r["status"] for r in applicable} == {"passed"}


def test_quarantine_keeps_rows_with_their_reasons(stage: Stage) -> None:
    rows = records()
    rows[3]["text"] = "  "
    rows[5] |= {"text": "", "labels": []}
    found = stage.run(rows, quarantine_share=0.1)
    aside = pq.read_table(stage.quarantine).to_pylist()
    assert [(r["id"], r["reasons"]) for r in aside] == [
        ("d03", ["empty_text"]),
        ("d05", ["empty_text", "no_label"]),
    ]
    assert list(aside[0]) == ["id", "text", "labels", "source", "reasons"]
    assert found["counts"] == {"in": 40, "out": 38, "quarantined": 2}
    assert pq.read_table(stage.corpus).num_rows == 38


def test_too_large_a_quarantine_is_refused(stage: Stage) -> None:
    rows = records()
    for row in rows[:3]:
        row["text"] = ""
    stage.refused(rows, "7.5% of the documents would be quarantined, but at most 5.0% may be")


def test_labels_are_repaired_as_the_policy_says(stage: Stage) -> None:
    rows = records()
    rows[0]["labels"] = [" even ", "even", None, " "]
    rows[1]["labels"] = ["uneven", "strange"]
    (stage.data / "labels.yaml").write_text(
        "labels: [odd, even]\naliases: {uneven: odd}\n"
        "history: [{date: 2026-03-01, merged: {strange: odd}, reason: the same}]\n"
    )
    found = stage.run(rows)
    assert [r["labels"] for r in pq.read_table(stage.corpus).to_pylist()[:2]] == [["even"], ["odd"]]
    for code in REPAIRS:
        assert (rule(found, code)["status"], rule(found, code)["count"]) == ("repaired", 1)
    kept = dict.fromkeys(REPAIRS, "warn") | {"unknown_label": "quarantine"}
    found = stage.run(rows, policy={"labels": kept}, quarantine_share=0.5)
    [first, second] = pq.read_table(stage.quarantine).to_pylist()
    assert (first["labels"], second["labels"]) == (
        [" even ", "even", "", " "], ["uneven", "strange"],
    )  # fmt: skip
    assert first["reasons"] == second["reasons"] == ["unknown_label"]


def test_a_rename_to_a_label_that_documents_have_already_is_told(stage: Stage) -> None:
    """The corpus alone knows `even`: the repair makes one label of both, so the finding says it."""
    rows = records()
    n_even = sum(row["labels"] == ["even"] for row in rows)
    (stage.data / "labels.yaml").write_text(
        "history: [{date: 2026-03-01, renamed: {level: even}, reason: the new word}]\n"
    )
    assert rule(stage.run(rows), "joined_label")["count"] == 0, "all have the new word"
    rows[0]["labels"] = ["level"]
    found = rule(stage.run(rows), "joined_label")
    had = n_even - (records()[0]["labels"] == ["even"])
    assert 10 < had == found["count"] and found["status"] == "warned"
    merged = (stage.data / "labels.yaml").read_text().replace("renamed", "merged")
    (stage.data / "labels.yaml").write_text(merged)
    assert rule(stage.run(rows), "joined_label")["count"] == 0, "as somebody wanted"


def test_the_error_policy_stops_and_removes_old_outputs(stage: Stage) -> None:
    stage.run(records())
    assert stage.corpus.exists() and stage.suspects.exists()
    rows = records()
    rows[1]["id"] = rows[0]["id"]
    found = stage.refused(rows, r"repeated_id: 2 document\(s\), another document has the same id")
    assert rule(found, "repeated_id")["status"] == "failed"
    assert not stage.suspects.exists()


def test_a_corpus_without_valid_documents_is_refused(stage: Stage) -> None:
    rows = [row | {"labels": []} for row in records()]
    stage.refused(rows, r"no document left after validation \(40 read\)")


def test_a_corpus_with_one_label_is_refused(stage: Stage) -> None:
    rows = [row | {"labels": ["even"]} for row in records()]
    stage.refused(rows, "the corpus has one label, 'even'; at least two are needed")


def test_a_label_with_one_document_is_normal(stage: Stage) -> None:
    rows = records()
    rows[0]["labels"] = ["even", "single"]
    assert rule(stage.run(rows), "rare_label")["status"] == "warned"


def test_a_text_of_20_mb_is_kept_and_reported(stage: Stage) -> None:
    rows = records()
    rows[0]["text"] = "anchor basket of the series " * 750_000
    found = stage.run(rows)
    assert rule(found, "huge_text")["count"] == 1
    assert stage.findings.stat().st_size < 100_000
    assert pq.read_table(stage.corpus).num_rows == 40


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"PAR1 cut off", "corpus.parquet is not a readable Parquet file"),
        (None, "corpus.parquet does not exist"),
    ],
)
def test_faults_of_form_leave_findings_too(stage: Stage, content: bytes | None, match: str) -> None:
    if content:
        (stage.data / "corpus.parquet").write_bytes(content)
    with pytest.raises(DataError, match=match):
        stage.rerun()
    found = stage.read_findings()
    assert (rule(found, "form")["status"], found["outcome"]["status"]) == ("failed", "refused")
    assert match in found["outcome"]["why"]
    assert (stage.data_docs / "index.html").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("labels: [1, 2]", "quote numbers"),
        ("labels: [a]\naliases: {x: y}", "'y', which is not an allowed label"),
        ("aliases: {x: y, y: z}", "'y', which is not an allowed label"),
        ("label: [a]", "expected only the keys"),
        ("labels: [a", "is not valid YAML"),
        ("- a", "expected the keys 'labels', 'aliases', 'descriptions', 'history', got a list"),
    ],
)
def test_an_invalid_label_list_is_refused(stage: Stage, text: str, match: str) -> None:
    (stage.data / "labels.yaml").write_text(text)
    stage.refused(records(), match)


def test_data_docs_show_no_text_and_reruns_give_the_same_bytes(stage: Stage) -> None:
    rows = records()
    rows[0] |= {"id": "<script>id", "text": "<script>alert(1)</script>", "labels": ["<b>even"]}
    stage.run(rows)
    outputs = [stage.corpus, stage.quarantine, stage.findings, stage.suspects]
    outputs += [p for p in sorted(stage.data_docs.rglob("*")) if p.is_file()]
    before = {path: path.read_bytes() for path in outputs}
    pages = b"".join(data for path, data in before.items() if path.suffix == ".html")
    for hidden in (b"alert(1)", b"<script>id", b"<b>even", b"d01", b"anchor"):
        assert hidden not in pages
    stage.rerun()
    assert {path for path in outputs if path.read_bytes() != before[path]} == set()


class Loads(HTMLParser):
    """Collects what a browser would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get("src") or (values.get("href") if tag == "link" else "") or ""
        if tag in ("script", "iframe", "object") or "//" in address:
            self.found.append(f"{tag} {address}")


def test_data_docs_run_nothing_and_load_nothing_from_elsewhere(stage: Stage) -> None:
    stage.run(records())
    pages = sorted(stage.data_docs.rglob("*.html"))
    assert len(pages) == 3
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.found == [], page
    for style in stage.data_docs.rglob("*.css"):
        assert "//" not in re.sub(r"/\*.*?\*/", "", style.read_text(), flags=re.DOTALL), style
    index = (stage.data_docs / "index.html").read_text()
    for link in re.findall(r'href="([^"]+)"', index):
        assert (stage.data_docs / link).is_file()
    [results] = (stage.data_docs / "validations").rglob("*.html")
    assert all(code in results.read_text() for code in ("empty_text", "repeated_label"))


def test_suspects_are_harmless_to_spreadsheets(stage: Stage) -> None:
    rows = []
    for k in range(80):
        odd = k % 2
        text = f"{'apple pear plum' if odd else 'iron zinc lead'} number{k}"
        rows.append({"id": f"=d{k}", "text": "@" + text, "labels": ["+fruit" if odd else "-metal"]})
    rows[0]["labels"] = ["+fruit"]
    stage.run(rows)
    with stage.suspects.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["rank", "kind", "id", "label", "score", "text"]
    top = {row["kind"]: row for row in reversed(table)}
    assert (top["wrong"]["rank"], top["wrong"]["id"], top["wrong"]["label"]) == (
        "1",
        "'=d0",
        "'+fruit",
    )
    assert (top["missing"]["id"], top["missing"]["label"]) == ("'=d0", "'-metal")
    cells = [cell for row in table for name, cell in row.items() if name != "score"]
    assert not [cell for cell in cells if re.match(r"[=+\-@\t\r]", cell)]
    stage.rerun(suspects={"top": 0})
    assert stage.suspects.read_text().count("\n") == 1


def test_findings_are_bounded_and_say_what_the_corpus_lacks(stage: Stage) -> None:
    rows = [row | {"text": "", "labels": ["x" * 300, "even"]} for row in records()]
    found = stage.run(rows, policy={"texts": {"empty_text": "warn"}})
    examples = rule(found, "empty_text")["examples"]
    assert (rule(found, "empty_text")["count"], len(examples)) == (40, 20)
    assert len(examples[0]["labels"][0]) == 160
    for section in ("agreement", "annotator_shifts", "period_shifts"):
        assert found[section] is None
    assert rule(found, "unknown_split")["status"] == "not applicable"


def test_agreement_is_reported_from_annotations(stage: Stage) -> None:
    rows = records()
    judged = [
        {"id": r["id"], "annotator": who, "labels": r["labels"]}
        for r in rows
        for who in ("ada", "ben")
    ]
    judged[1]["labels"] = ["odd"]
    pd.DataFrame(judged).to_parquet(stage.data / "annotations.parquet")
    found = stage.run(rows)
    assert found["agreement"]["documents"] == 40
    assert 0.9 < found["agreement"]["alpha"] < 1
    assert rule(found, "annotators_disagree")["examples"][0]["id"] == "d00"


def test_a_single_annotator_neither_agrees_nor_differs(stage: Stage) -> None:
    rows = [row | {"annotator": "ada"} for row in records()]
    judged = [{"id": r["id"], "annotator": "ada", "labels": r["labels"]} for r in rows]
    pd.DataFrame(judged).to_parquet(stage.data / "annotations.parquet")
    found = stage.run(rows)
    assert rule(found, "annotators_disagree")["count"] == 0
    assert rule(found, "annotator_shift")["count"] == 0
    assert not (found["agreement"] or {}).get("alpha")


def test_labels_of_300_characters_markup_and_right_to_left_marks_are_kept(stage: Stage) -> None:
    hostile = ["x" * 300, "<script>alert(1)</script>", "\u202eevil", "=1+1", "🐘 \u200fלשון"]
    rows = records()
    for k, row in enumerate(rows):
        row["labels"] = [*row["labels"], hostile[k % 5]]
    stage.run(rows)
    kept = pq.read_table(stage.corpus).to_pylist()
    assert [row["labels"] for row in kept] == [row["labels"] for row in rows]


# Choices


def test_the_choices_beside_the_corpus_are_passed_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.run(records())
    assert read_choices(stage.choices) == Choices()
    basis = Basis(docs=40, labels=["even", "odd"], settings={})
    chosen = ChoiceRecord(chosen="db", since=date(2026, 11, 28), scores={"db": 0.5}, basis=basis)
    laid = Choices(night=date(2026, 11, 29), made={"train": chosen})
    write_choices(laid, stage.data / "choices.json")
    stage.rerun()
    assert read_choices(stage.choices) == laid


def test_broken_choices_are_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    (stage.data / "choices.json").write_text('{"night": "soon"}')
    stage.refused(records(), r"choices\.json does not say what was chosen \(night: .*remove it")
    assert not stage.choices.exists()
