"""Bad data from file to exit code: one sentence, the right code, nothing half-written."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components._formats.assignment import read_assignment
from components._formats.corpus import read_corpus, write_corpus
from components._frame.component import main
from components._frame.launch import guarded
from components.ingest import command as ingest
from longtail.errors import DataError
from tests.builders.paths import ROOT
from tests.builders.small_project import small_corpus, small_params, write_encoder

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
DATA_SIDE = ("validate", "split", "frequencies")


@pytest.fixture(scope="module")
def params(tmp_path_factory) -> dict[str, Any]:
    encoder = tmp_path_factory.mktemp("encoder")
    write_encoder(encoder)
    return small_params(encoder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params) -> Path:
    """The folder of a project without data, as the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return tmp_path


def code_of(action) -> int:
    with pytest.raises(SystemExit) as exited:
        action()
    return int(exited.value.code or 0)


def run_ingest(*arguments: str) -> int:
    return code_of(lambda: guarded("ingest", lambda: ingest.main(arguments, standalone_mode=False)))


def run_stages(names: tuple[str, ...] = tuple(STAGES)) -> tuple[str, int]:
    """Run stages as `dvc repro` would, and return the last one that ran with its exit code."""
    for name in names:
        flags = STAGES[name]["cmd"].split()[3:]
        run = import_module(f"components.{name}").run
        code = code_of(lambda run=run, flags=flags: main(run, flags))
        if code:
            break
    return name, code


def only_error_line(capsys) -> str:
    """The one line on stderr; no traceback."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("svm C=")]
    assert len(lines) == 1, lines
    return lines[0]


def scratch_files() -> list[str]:
    """What `written` would leave if it did not clean up."""
    return [str(path) for path in Path(".").rglob(".*.*")]


def write_csv(rows: list[list[str]], name: str = "in.csv") -> None:
    with open(name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text", "labels"], *rows])


def texts(n_docs: int) -> list[str]:
    return small_corpus(n_docs)["text"].tolist()


# What ingest refuses, faults of form: content, flags, message
GOOD = "id,text,labels\n1,one text here,a\n2,another text here,b\n"
FORM = {
    "missing id": (GOOD.replace("2,an", ",an"), [], "row 2 (line 3), column 'id': the id is miss"),
    "duplicate id": (GOOD.replace("2,an", "1,an"), [], "'1' also appears in row 1"),
    "unknown column": (GOOD, ["--text-column", "body"], "no column 'body' for the text"),
    "stray quote": (GOOD.replace("another", '"ano"ther'), [], "is not valid CSV"),
    "latin-1": (GOOD.replace("one", "\xe9t\xe9").encode("latin-1"), [], "is not utf-8; pass the"),
    "one cell too many": (GOOD.replace(",b", ",b,c"), [], "has 4 cells, expected 3"),
    "wrong type of split": ("id,text,labels,split\n1,x,a,dev\n", [], "expected train, val, test"),
    "wrong type of date": ("id,text,labels,annotated_at\n1,x,a,soon\n", [], "expected a date"),
    "empty file": ("", [], "is empty"),
    "only a header": ("id,text,labels\n", [], "No documents in in.csv"),
}


@pytest.mark.parametrize("fault", FORM)
@pytest.mark.parametrize("existing", [False, True], ids=["fresh", "over a corpus"])
def test_faults_of_form_stop_ingest(project, capsys, fault, existing):
    content, flags, message = FORM[fault]
    if existing and fault == "only a header":
        pytest.skip("without new rows, an existing corpus stays as it is")
    if existing:
        Path("in.csv").write_text(GOOD, encoding="utf-8")
        assert run_ingest("csv", "in.csv") == 0
        before = Path("data/corpus.parquet").read_bytes()
    Path("in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    capsys.readouterr()
    assert run_ingest("csv", "in.csv", *flags) == 3
    assert message in only_error_line(capsys)
    assert scratch_files() == []
    if existing:
        assert Path("data/corpus.parquet").read_bytes() == before
    else:
        assert not Path("data").exists()


def test_a_truncated_parquet_stops_ingest_and_the_stages(project, capsys):
    write_corpus(small_corpus(30), Path("whole.parquet"))
    whole = Path("whole.parquet").read_bytes()
    Path("cut.parquet").write_bytes(whole[: len(whole) // 2])
    assert run_ingest("parquet", "cut.parquet") == 3
    assert "cut.parquet is not a readable Parquet file" in only_error_line(capsys)
    assert not Path("data").exists()
    for name in DATA_SIDE[:2]:
        target = STAGES[name]["deps"][0]
        target = f"{target}/corpus.parquet" if target == "data" else target
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_bytes(whole[: len(whole) // 2])
        assert run_stages((name,)) == (name, 3)
        assert f"{target} is not a readable Parquet file" in only_error_line(capsys)
        assert scratch_files() == []


# What validate refuses, faults of content: a change of the rows, message
def one_label(rows):
    return [[key, text, "only"] for key, text, _ in rows]


def no_text(rows):
    return [[key, "  ", label] for key, _, label in rows]


def no_labels(rows):
    return [[key, text, ""] for key, text, _ in rows]


CONTENT = {
    "one label": (one_label, "the corpus has one label, 'only'; at least two are needed"),
    "empty texts": (no_text, "no document left after validation (40 read)"),
    "no labels": (no_labels, "no document left after validation (40 read)"),
}


@pytest.mark.parametrize("fault", CONTENT)
def test_faults_of_content_stop_validate(project, capsys, fault):
    change, message = CONTENT[fault]
    write_csv(change([[str(k), text, "ab"[k % 2]] for k, text in enumerate(texts(40))]))
    assert run_ingest("csv", "in.csv") == 0
    capsys.readouterr()
    assert run_stages() == ("validate", 3)
    assert message in only_error_line(capsys)
    assert not list(Path("artifacts").rglob("*.parquet")) and scratch_files() == []


def test_blank_labels_are_repaired_and_variants_are_reported(project):
    """A variant in case is not merged: that is for people to decide."""
    rows = small_corpus(60)
    rows["labels"] = [
        [*labels, None, "  "] if k < 3 else labels for k, labels in enumerate(rows["labels"])
    ]
    rows.at[5, "labels"] = [f" {rows.at[5, 'labels'][0]}  "]
    rows.at[6, "labels"] = ["Label-0"]
    write_corpus(rows, Path("data/corpus.parquet"))
    assert run_stages(DATA_SIDE) == ("frequencies", 0)
    found = {
        label
        for labels in read_corpus(Path("artifacts/validate/corpus.parquet"))["labels"]
        for label in labels
    }
    assert found == {f"label-{i}" for i in range(8)} | {"Label-0"}
    findings = Path("reports/validate/findings.json").read_text()
    assert '"case_variant"' in findings


# Files between the stages


def test_a_null_in_a_list_of_labels_is_refused_after_validation(project, capsys):
    rows = small_corpus(30)
    rows.at[4, "labels"] = ["label-0", None]
    write_corpus(rows, Path("artifacts/validate/corpus.parquet"))
    assert run_stages(("split",)) == ("split", 3)
    assert "row 5, column 'labels' has a null in its list" in only_error_line(capsys)
    frame = read_corpus(Path("artifacts/validate/corpus.parquet"), null_labels=True)
    assert frame.at[4, "labels"] == ["label-0", None]


def test_a_column_of_mixed_types_is_named(tmp_path):
    frame = small_corpus(3).assign(size=[1, "two", 3.0])
    with pytest.raises(DataError, match=r"column 'size' have mixed types \(.*\); convert") as e:
        write_corpus(frame, tmp_path / "corpus.parquet")
    assert "\n" not in str(e.value) and list(tmp_path.iterdir()) == []


def test_a_column_that_appears_twice_is_named(tmp_path):
    columns = [pa.array(["1"]), pa.array(["x"]), pa.array([["a"]]), pa.array(["y"])]
    table = pa.Table.from_arrays(columns, names=["id", "text", "labels", "text"])
    pq.write_table(table, tmp_path / "corpus.parquet")
    with pytest.raises(DataError, match=r"corpus\.parquet: column 'text' appears twice"):
        read_corpus(tmp_path / "corpus.parquet")


def test_a_broken_assignment_is_one_sentence(project, capsys):
    path = Path("artifacts/split/assignment.parquet")
    write_corpus(small_corpus(60), Path("artifacts/validate/corpus.parquet"))
    assert run_stages(("split", "frequencies")) == ("frequencies", 0)
    whole = path.read_bytes()
    good = pq.read_table(path)
    faults = {
        "Parquet": whole[: len(whole) // 2],
        "split": good.drop_columns("split"),
        "split 'dev'": good.set_column(1, "split", pa.array(["dev"] * 60)),
        "split None": good.set_column(1, "split", pa.array([None] * 60, pa.string())),
        "an id appears twice": pa.concat_tables([good, good]),
    }
    capsys.readouterr()
    for reason, content in faults.items():
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            pq.write_table(content, path)
        assert run_stages(("frequencies",)) == ("frequencies", 3), reason
        message = only_error_line(capsys)
        assert f"{path} is not a readable split assignment (" in message and reason in message
        assert message.endswith(
            "expected the columns id and split as `split` writes them. Run `dvc repro split`."
        )
    path.write_bytes(whole)
    assert read_assignment(path).value_counts().to_dict() == {"train": 36, "val": 12, "test": 12}


# A full disk

FULL = """
mount -t tmpfs -o size="$1" none "$2" || exit 99
cp -r "$3"/. "$2"; cd "$2"; shift 3; "$@"; code=$?
find . -name '.*.*' -type d; exit $code
"""


@pytest.mark.parametrize(
    ("command", "spare"),
    [
        (["components.ingest", "csv", "new.csv"], 4),
        (["components.split", *STAGES["split"]["cmd"].split()[3:]], 1),
        pytest.param(["components.validate", *STAGES["validate"]["cmd"].split()[3:]], 9,
                     marks=pytest.mark.slow),
    ],
    ids=("ingest", "split", "validate"),
)  # fmt: skip
def test_a_full_disk_is_temporary_and_leaves_no_scratch(project, tmp_path, command, spare):
    """On a real file system with a few free pages of 4 KiB, mounted for one process."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare, so no small file system")
    source, disk = tmp_path / "source", tmp_path / "disk"
    disk.mkdir()
    rows = pd.DataFrame({"id": [str(k) for k in range(900)],
                         "text": [f"one text for {k}" for k in range(900)],
                         "labels": [["ab"[k % 2]] for k in range(900)]})  # fmt: skip
    write_corpus(rows, source / "data/corpus.parquet")
    write_corpus(rows, source / "artifacts/validate/corpus.parquet")
    shutil.copy("params.yaml", source)
    (source / "new.csv").write_text(
        "id,text,labels\n" + "".join(f"n{k},{os.urandom(20).hex()},a\n" for k in range(900))
    )
    pages = sum(-(-path.stat().st_size // 4096) for path in source.rglob("*") if path.is_file())
    room = f"{4 * (pages + spare)}k"
    run = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL, "sh", room, disk, source]
    done = subprocess.run(
        [*map(str, run), sys.executable, "-m", *command],
        capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr and "No space left on device" in done.stderr
    assert done.stdout.strip() == "", "a temporary folder was left"


# All stages on extreme corpora


@pytest.mark.slow
def test_40_csv_rows_pass_every_stage(project):
    corpus = small_corpus(40)
    write_csv([[r.id, r.text, ",".join(r.labels)] for r in corpus.itertuples()])
    assert run_ingest("csv", "in.csv") == 0
    assert run_stages() == ("report", 0)
    assert "Evaluation of" in Path("reports/report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels", ["all,each", "all"], ids=["two labels everywhere", "one label everywhere"]
)
def test_a_corpus_whose_documents_all_have_the_same_labels(project, capsys, labels):
    write_csv([[str(k), text, labels] for k, text in enumerate(texts(60))])
    assert run_ingest("csv", "in.csv") == 0
    capsys.readouterr()
    if labels == "all":
        assert run_stages() == ("validate", 3)
        assert "the corpus has one label" in only_error_line(capsys)
    else:
        assert run_stages() == ("report", 0)


@pytest.mark.slow
def test_a_label_of_one_document_and_a_label_of_all(project):
    corpus = small_corpus(60)
    write_csv([[r.id, r.text, ",".join([*r.labels, "everywhere", *(["once"] * (k == 7))])]
               for k, r in enumerate(corpus.itertuples())])  # fmt: skip
    assert run_ingest("csv", "in.csv") == 0
    assert run_stages() == ("report", 0)
    page = Path("reports/report.html").read_text()
    assert "everywhere" in page and "once" in page
