"""Any corpus through the stages: a result or one sentence, and no document lost on the way.

`-m slow` tries many more; every example that failed is printed and tried again first.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import baseline, frequencies, split, validate
from components._formats import scores_params
from components._formats.corpus import read_corpus
from components._frame.params import load_params
from components._sources.jsonl_files import read_jsonl
from components._sources.rows import FileFormat
from components.ingest import ingest
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT

PARAMS = ROOT / "params.yaml"
ANSWERS = (DataError, ParameterError)  # one sentence each, exit codes 3 and 2

few = st.sampled_from(["a", "b", "c", "use::editing", "role::program", "ü", "=1+1", "</script>"])
words = st.lists(st.sampled_from(["one", "two", "file", "編集", "naïve", "a"]), max_size=12)
dates = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)).map(dt.datetime.isoformat)
optional = {
    "split": st.sampled_from(["train", "val", "test", None]),
    "group": st.one_of(st.none(), few),
    "annotator": st.one_of(st.none(), few),
    "annotated_at": st.one_of(st.none(), dates),
    "note": st.one_of(st.none(), st.text(max_size=5)),
    "number": st.one_of(st.none(), st.floats()),
}


def document(number: int) -> dict[str, st.SearchStrategy[Any]]:
    """Sound, and no copy of another."""
    text = words.map(lambda found: " ".join([*found, "text", f"number{number}"]))
    return {"id": st.just(f"d{number}"), "text": text,
            "labels": st.lists(few, min_size=1, max_size=4, unique=True)}  # fmt: skip


strange = {
    "id": st.text(max_size=6),
    "text": st.one_of(st.text(max_size=60), words.map(" ".join)),
    "labels": st.lists(st.one_of(few, st.text(max_size=8)), max_size=4),
}


@st.composite
def corpora(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to 30 sound and 5 strange documents, with any of the columns that have a meaning."""
    columns = draw(st.lists(st.sampled_from(sorted(optional)), unique=True))
    own = {name: optional[name] for name in columns}
    sound = [draw(st.fixed_dictionaries(document(i) | own))
             for i in range(draw(st.integers(0, 30)))]  # fmt: skip
    more = st.lists(st.fixed_dictionaries(strange | own), max_size=5)
    return sound + draw(st.one_of(st.just([]), more))


def taken_in(rows: list[dict[str, Any]], folder: Path) -> Path:
    """The corpus that `ingest` makes of the rows."""
    folder.mkdir()
    lines = [json.dumps(row, sort_keys=True) for row in rows]  # columns come in the order of keys
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ingest([read_jsonl(folder / "in.jsonl", FileFormat())], folder / "data")
    return folder / "data"


def validated(data: Path, folder: Path) -> Path:
    """The accepted documents; each of `data` is among them or in quarantine."""
    out = {name: folder / name for name in ("corpus", "quarantine", "findings", "docs", "suspects")}
    validate.run(
        data=data, corpus=out["corpus"], quarantine=out["quarantine"], findings=out["findings"],
        data_docs=out["docs"], suspects=out["suspects"], choices=folder / "choices.json",
        label_weights=folder / "label_weights.parquet",
        params=load_params("validate", validate.Params, PARAMS),
    )  # fmt: skip
    found = [pd.read_parquet(out[name])["id"].tolist() for name in ("corpus", "quarantine")]
    given = pd.read_parquet(data / "corpus.parquet")["id"].tolist()
    assert sorted(found[0] + found[1]) == sorted(given)
    return out["corpus"]


def trained_on(corpus: Path, folder: Path) -> Path:
    """Everything from `split` to `baseline`; every document has one part, frozen ones theirs."""
    part = folder / "assignment.parquet"
    split.run(
        corpus=corpus, assignment=part, split_report=folder / "split.json",
        params=load_params("split", split.Params, PARAMS),
    )  # fmt: skip
    frame = read_corpus(corpus)
    of = pd.read_parquet(part).set_index("id")["split"]
    assert sorted(of.index) == sorted(frame["id"])
    if "split" in frame:
        frozen = frame.dropna(subset=["split"])
        if len(frozen) == len(frame) and "val" not in set(frozen["split"]):
            frozen = frozen[frozen["split"] == "test"]  # val is taken from train
        assert (of[frozen["id"]].to_numpy() == frozen["split"].to_numpy()).all()
    frequencies.run(
        corpus=corpus, assignment=part, frequencies=folder / "frequencies.json",
        cooccurrences=folder / "pairs.npz", label_counts=folder / "counts.csv",
        params=load_params("frequencies", frequencies.Params, PARAMS),
    )  # fmt: skip
    baseline.run(
        corpus=corpus, assignment=part, model=folder / "svm", val_scores=folder / "val.npz",
        test_scores=folder / "test.npz", last_choices=folder / "choices.json",
        choice=folder / "choice.json", curve=folder / "curve.parquet",
        label_weights=folder / "label_weights.parquet",
        params=load_params("baseline", baseline.Params, PARAMS),
        scores=load_params("scores", scores_params.Params, PARAMS),
    )  # fmt: skip
    return part


def bytes_of(rows: list[dict[str, Any]], folder: Path) -> tuple[str, bytes]:
    """How far the rows come, and the bytes of the last file that was made; never a stack trace."""
    folder.mkdir()
    said, last = "ingest", b""
    with suppress(*ANSWERS):
        data = taken_in(rows, folder / "in")
        said = "validate"
        corpus = validated(data, folder)
        said, last = "split", corpus.read_bytes()
        last += trained_on(corpus, folder).read_bytes()
        said = "all"
    return said, last


def check(rows: list[dict[str, Any]], reached: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory() as top, pytest.MonkeyPatch.context() as patch:
        # Great Expectations takes a second per corpus and is tested with `validate`.
        patch.setattr(validate, "expect", lambda *_: [])
        found = bytes_of(rows, Path(top) / "a")
        other = random.Random(0).sample(rows, len(rows))
        assert bytes_of(other, Path(top) / "b") == found, "the order of the rows made a difference"
        reached[found[0]] = reached.get(found[0], 0) + 1


SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True,
            "derandomize": "EXAMPLES" not in os.environ}  # fmt: skip


@pytest.mark.timeout(7200)
def test_any_corpus_gets_a_result_or_a_sentence() -> None:
    """`EXAMPLES=5000` tries as many, and others each time."""
    n = int(os.environ.get("EXAMPLES", "50"))
    reached: dict[str, int] = {}
    settings(max_examples=n, **SETTINGS)(given(corpora())(lambda rows: check(rows, reached)))()
    print(reached)
    assert sum(reached.values()) >= n and reached["all"] > n / 4
