"""Predict labels with scores for texts from stdin, CSV, JSON Lines or Parquet."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from components._frame.component import guarded
from components._frame.files import written
from components._frame.params import Section, load_params
from components._registry import client as registry
from components._registry.evidence import BASELINE, THRESHOLDS
from components._registry.worker import Answer, Served, ServedError
from longtail.errors import DataError, ParameterError, unknown_name

CHAMPION = "models:/longtail@champion"
Row = dict[str, Any]


class Params(Section):
    """Settings of `predict`."""

    batch_docs: int = Field(ge=1, le=100_000, description="Documents held in memory at a time.")


def _read_lines(path: Path | None) -> Iterator[Row]:
    with _opened(path) as lines:
        for line in lines:
            yield {"text": line.rstrip("\n")}


def _read_csv(path: Path | None) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with _opened(path) as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            yield from reader
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: not CSV ({error}).") from None


def _read_jsonl(path: Path | None) -> Iterator[Row]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}, line {number}: expected an object with a text, got {row!r}."
                )
            yield row


def _read_parquet(path: Path | None) -> Iterator[Row]:
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
            yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file ({error}).") from None


READERS: dict[str, Callable[[Path | None], Iterator[Row]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
    "txt": _read_lines,
}


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    try:
        stream = sys.stdin if path is None else path.open(encoding="utf-8-sig", newline="")
        with nullcontext(stream) if path is None else stream as lines:
            yield lines
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; expected a file of texts.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path or 'stdin'} is not UTF-8 ({error}); convert it first.") from None


def read_texts(path: Path | None, form: str, column: str) -> Iterator[tuple[str, str]]:
    """(id, text) of each row; the id is the row's own or its number, from 0.

    Raises DataError naming the row where there is no text.
    """
    for number, row in enumerate(READERS[form](path)):
        if column not in row:
            raise DataError(
                f"{path or 'stdin'}, row {number}: no column {column!r}; it has "
                f"{', '.join(map(str, row))}. Name the column with --column."
            )
        if not isinstance(row[column], str):
            raise DataError(
                f"{path or 'stdin'}, row {number}, column {column!r}: expected a text, "
                f"got {row[column]!r}."
            )
        yield str(row.get("id", number)), row[column]


def form_of(path: Path | None, given: str | None) -> str:
    """The format of the input: as given, by the file's ending, or plain lines."""
    if given is None:
        given = "txt" if path is None else path.suffix.lstrip(".").replace("ndjson", "jsonl")
    if given not in READERS:
        raise unknown_name("input format", given, READERS)
    return given


class Workspace:
    """A model folder that `train` wrote, served in this process with the tuned thresholds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Workspace:
        from components._registry.serving import LongtailModel

        paths = {"model": self.folder, "thresholds": THRESHOLDS, "baseline": BASELINE}
        for path in (self.folder, THRESHOLDS):
            if not path.exists():
                raise DataError(f"{path} does not exist; run `dvc repro` or name another --model.")
        self.model = LongtailModel()
        self.model.load_context(SimpleNamespace(artifacts=paths))
        return self

    def __exit__(self, *_: object) -> None:
        del self.model

    def ask(self, texts: Sequence[str], **options: float) -> Answer:
        found = self.model.predict(None, pd.DataFrame({"text": texts}), options)
        return Answer(found["labels"].tolist(), found["scores"].tolist(), 0.0, 0.0)


def opened(model: str) -> Served | Workspace:
    """The model to ask: from the registry, an MLflow model folder, or `train`'s model folder."""
    if model.startswith(("models:/", "runs:/")):
        registry.connect()
        return Served(model)
    folder = Path(model)
    return Served(str(folder.resolve())) if (folder / "MLmodel").exists() else Workspace(folder)


def predict(
    rows: Iterable[tuple[str, str]], model: str, size: int, **options: float
) -> Iterator[Row]:
    """One record a text, `size` of them in memory at a time."""
    batches = batched(rows, size)
    first = next(batches, None)  # a fault in the first rows shows before the model is loaded
    if first is None:
        return
    try:
        with opened(model) as served:
            for batch in chain([first], batches):
                answer = served.ask([text for _, text in batch], **options)
                for (name, _), labels, scores in zip(
                    batch, answer.labels, answer.scores, strict=True
                ):
                    yield {"id": name, "labels": labels, "scores": [round(s, 6) for s in scores]}
    except ServedError as error:
        raise DataError(
            f"{error} (`python -m components.promote history` shows the champions)"
        ) from None


def batched(rows: Iterable[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    """The rows in lists of `size` (itertools has it from Python 3.12 on)."""
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _write(records: Iterable[Row], path: Path | None) -> None:
    if path is None:
        for record in records:
            print(json.dumps(record, ensure_ascii=False))
        return
    with written(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def _shown(records: Iterable[Row]) -> Iterator[Row]:
    columns = (TextColumn("predict"), BarColumn(), TextColumn("{task.completed} documents"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        yield from progress.track(records, total=None)


def run(arguments: argparse.Namespace) -> None:
    """Read, predict, write JSON Lines."""
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        raise ParameterError(f"--threshold must be between 0 and 1, got {arguments.threshold}.")
    if arguments.top_k is not None and arguments.top_k < 1:
        raise ParameterError(f"--top-k must be at least 1, got {arguments.top_k}.")
    params = load_params("predict", Params)
    form = form_of(arguments.input, arguments.format)
    texts = read_texts(arguments.input, form, arguments.column)
    options = {"threshold": arguments.threshold, "top_k": arguments.top_k}
    chosen = {name: value for name, value in options.items() if value is not None}
    _write(_shown(predict(texts, arguments.model, params.batch_docs, **chosen)), arguments.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m components.predict", description=__doc__)
    parser.add_argument("input", nargs="?", type=Path, help="file of texts; default: stdin")
    parser.add_argument("--model", default=CHAMPION, help="models:/… or a model folder")
    parser.add_argument("--output", type=Path, help="JSON Lines file; default: stdout")
    parser.add_argument("--format", metavar="|".join(READERS), help="default: the file's ending")
    parser.add_argument("--column", default="text", help="column of the texts (default: text)")
    parser.add_argument("--threshold", type=float, help="replaces every label's own threshold")
    parser.add_argument("--top-k", type=int, help="at most so many labels a text")
    return parser


if __name__ == "__main__":
    arguments = _parser().parse_args()
    guarded("predict", lambda: run(arguments))
