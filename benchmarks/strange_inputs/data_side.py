"""The cases of the data side: `validate`, small and lopsided corpora, and `drift`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.strange_inputs import blobs
from benchmarks.strange_inputs.cases import Case
from components._formats.corpus import COLUMNS, FOLD
from components._frame.pipeline import load_stages

STRANGE = ("corpus.parquet", "assignment.parquet")  # inputs that the cases write
YAML = {
    "nothing": b"", "a list": b"[a]", "NUL": b"\0", "Latin-1": b"labels: [caf\xe9]",
    "other keys": b"lables: [a]", "numbers": b"labels: [1, 2]", "yes": b"labels: [yes, no]",
    "a tag": b"labels: !!python/object/apply:os.system [ls]", "deep": b"[" * 5000,
    "5,000 digits": b"labels: [" + b"9" * 5000 + b"]", "no date": b"labels: [2026-13-45]",
    "itself": b"&a [*a]", "an alias of nothing": b"aliases: {a: nowhere}\nlabels: [a]",
    "a chain": b"aliases: {a: b, b: c}", "empty labels": b"labels: []", "a key twice":
    b"labels: [a]\nlabels: [b]", "a long alias": b"aliases: {" + b"x" * 900 + b": y}\nlabels: [z]",
    "100,000 labels": b"labels:\n" + b"".join(b"- l%d\n" % i for i in range(100_000)),
}  # fmt: skip


def command(name: str) -> tuple[str, ...]:
    """Of dvc.yaml: cases write to `in`, it writes to `out`, and other inputs are the run's."""
    stage = next(stage for stage in load_stages() if stage.name == name)

    def place(word: str) -> str:
        file = Path(word).name
        return f"out/{file}" if word in stage.outs else f"in/{file}" if file in STRANGE else word

    return tuple("in" if word == "data" else place(word) for word in stage.argv[2:])


def bomb(key: str) -> bytes:
    """Lists of lists by anchors: a few hundred bytes that are 40 million values."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for inner, outer in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{outer}: &{outer} [{','.join([f'*{inner}'] * 9)}]")
    return "\n".join([*lines, f"{key}: *h"]).encode()


def rows(n_docs: int, **columns: Any) -> dict[str, Any]:
    """Sound documents, with other columns in place of theirs."""
    sound = {
        "id": [f"d{i}" for i in range(n_docs)],
        "text": [f"a small program number {i} of {7 * i}" for i in range(n_docs)],
        "labels": [["a", "b"] if i % 3 else ["b"] for i in range(n_docs)],
    }
    return sound | columns


def corpus(n_docs: int, **columns: Any) -> bytes:
    return blobs.parquet(pa.table(rows(n_docs, **columns)))


def validate() -> Iterator[Case]:
    argv, foreign = command("validate"), blobs.parquet_files() | blobs.foreign()
    for name, content in foreign.items():
        yield Case("validate corpus", name, argv, {"in/corpus.parquet": content})
    good = corpus(60)
    for name, content in {**blobs.foreign(), "no judgment column": good}.items():
        files = {"in/corpus.parquet": good, "in/annotations.parquet": content}
        yield Case("validate beside it", f"annotations: {name}", argv, files)
    for name, content in {**YAML, "bomb": bomb("labels"), "other bomb": bomb("other")}.items():
        files = {"in/corpus.parquet": good, "in/labels.yaml": content}
        yield Case("validate beside it", f"labels.yaml: {name}", argv, files)
    texts = {
        "one word each": ["word"] * 60, "blank": [" "] * 60, "NUL": ["\0"] * 60,
        "2 MB in a word": ["x" * 2_000_000, *rows(59)["text"]], "marks": ["\u202e\u200b"] * 60,
        "2 MB of words": ["word " * 400_000, *rows(59)["text"]], "HTML": [blobs.HTML] * 60,
    }  # fmt: skip
    for name, values in texts.items():
        files = {"in/corpus.parquet": corpus(60, text=values)}
        yield Case("validate corpus", f"texts: {name}", argv, files)
    labels = {
        "none": [[]] * 60, "blank": [[" "]] * 60, "one": [["a"]] * 60, "twice": [["a", "a"]] * 60,
        "of its own": [[f"l{i}"] for i in range(60)],
        "1,000": [[f"l{i}" for i in range(1000)]] * 60,
        "in two cases": [["a", "A"]] * 60, "marks": [["a\u202e", "</script>"]] * 60,
        "100,000 characters": [["x" * 100_000, "b"]] * 60,
    }  # fmt: skip
    for name, lists in labels.items():
        files = {"in/corpus.parquet": corpus(60, labels=lists)}
        yield Case("validate corpus", f"labels: {name}", argv, files)


def small() -> Iterator[Case]:
    """Corpora that a split cannot serve, and assignments that the next stages cannot use."""
    frozen, argv = [None] * 30, command("split")
    shapes: dict[str, tuple[int, dict[str, Any]]] = {
        **{f"{n} documents": (n, {}) for n in (1, 2, 3, 4, 5, 10)},
        "no documents": (0, {"text": pa.array([], pa.string()), "id": pa.array([], pa.string()),
                             "labels": pa.array([], pa.list_(pa.string()))}),
        **{f"all in {part}": (30, {"split": [part] * 30}) for part in ("train", "val", "test")},
        "no test": (30, {"split": ["train", "val"] * 15}),
        "an unknown part": (30, {"split": ["train", "dev"] * 15}),
        "one free": (30, {"split": ["train"] * 29 + [None]}),
        "empty splits": (30, {"split": pa.array(frozen, pa.string())}),
        "one group": (30, {"group": ["g"] * 30}),
        "two groups": (30, {"group": ["g", "h"] * 15}),
        "one text": (30, {"text": ["one text of a few words"] * 30}),
        "one label": (30, {"labels": [["a"]] * 30}),
        "no label": (30, {"labels": pa.array([[]] * 30, pa.list_(pa.string()))}),
        "labels of their own": (30, {"labels": [[f"l{i}"] for i in range(30)]}),
        "1,000 labels each": (60, {"labels": [[f"l{i}" for i in range(1000)]] * 60}),
        "300 of 2,000 labels each": (60, {"labels": [
            [f"l{(i * 97 + j * j) % 2000}" for j in range(300)] for i in range(60)]}),
        "one id twice": (30, {"id": ["d0"] * 30}),
        "2,000 columns": (30, {f"c{i}": [i] * 30 for i in range(2000)}),
        "dates at the edges": (30, {"annotated_at": pa.array([-(2**62)] * 30, pa.timestamp("us"))}),
    }  # fmt: skip
    for name, (n_docs, columns) in shapes.items():
        yield Case("small split", name, argv, {"in/corpus.parquet": corpus(n_docs, **columns)})
    for stage in ("frequencies", "baseline"):
        argv = command(stage)
        given = corpus(30, labels=[["a"] if i > 20 else [] for i in range(30)])
        for name, parts in {
            "no test": ["train", "val"] * 15, "all train": ["train"] * 30, "no val":
            ["train", "test"] * 15, "no label in train": ["train"] * 20 + ["val", "test"] * 5,
            "an unknown part": ["dev"] * 30, "nulls": frozen, "one of each":
            ["val", "test", *["train"] * 28], "too few": ["train"] * 3, "one train": ["train"] +
            ["val", "test"] * 14 + ["val"],
        }.items():  # fmt: skip
            table = {
                "id": [f"d{i}" for i in range(len(parts))],
                "split": pa.array(parts, pa.string()),
                "group": [f"d{i}" for i in range(len(parts))],
                "retired": [False] * len(parts),
                FOLD: pa.nulls(len(parts), COLUMNS[FOLD]),
            }
            files = {"in/corpus.parquet": given,
                     "in/assignment.parquet": blobs.parquet(pa.table(table))}  # fmt: skip
            yield Case(f"small {stage}", name, argv, files)
        for name, content in blobs.foreign().items():
            files = {"in/corpus.parquet": given, "in/assignment.parquet": content}
            yield Case(f"small {stage}", f"assignment: {name}", argv, files)


def drift() -> Iterator[Case]:
    argv = ("components.drift", "new.parquet")
    for name, content in (blobs.parquet_files() | blobs.foreign()).items():
        yield Case("drift new", name, argv, {"new.parquet": content})
    shapes: dict[str, dict[str, Any]] = {
        "other labels": {"labels": [["x"]] * 40}, "no labels": {"labels": [["x"], *[[]] * 39]},
        "blank texts": {"text": [" "] * 40}, "one text": {"text": ["word"] * 40},
        "strange signs": {"text": ["\u202e\0\ufffd"] * 40}, "long": {"text": [blobs.HTML] * 40},
    }  # fmt: skip
    for name, columns in shapes.items():
        yield Case("drift new", name, argv, {"new.parquet": corpus(40, **columns)})
    for name in ("nowhere.parquet", ".", "/dev/null", "x" * 300, "", "in.csv"):
        yield Case("drift options", f"path {name[:20]!r}", ("components.drift", name))
        corpus_ = ("components.drift", "--corpus", name)
        yield Case("drift options", f"--corpus {name[:20]!r}", corpus_)


def cases() -> list[Case]:
    return [*validate(), *small(), *drift()]
