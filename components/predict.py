"""Predict labels with scores for texts from stdin, CSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO, TypeVar

import click
import pandas as pd
from pydantic import Field

from components._formats.columns import comma_joined, listed
from components._formats.csv_rows import other_separator
from components._formats.labels_file import FILE, read_allowed
from components._formats.records import RECORDS, Reading
from components._formats.text_file import checked_file
from components._frame.files import check_replaceable, written
from components._frame.launch import CONTEXT, launch
from components._frame.params import Section, load_params
from components._frame.progress import progress
from components._frame.suffixes import SUFFIXES, TABS
from components._registry import client as registry
from components._registry.evidence import BASELINE, THRESHOLDS
from components._registry.renamed import CURRENT, OWN, WORDS, Answering, Renamed
from components._registry.trust import check_lock
from components._registry.worker import Answer, Served, ServedError
from longtail.errors import DataError, ParameterError, unknown_name
from longtail.spreadsheet import harmless

Row = dict[str, Any]
T = TypeVar("T")


class Params(Section):
    """The parameters of `predict`."""

    batch_docs: int = Field(ge=1, le=100_000, description="documents held in memory at a time")


def read_texts(reading: Reading, kind: str, column: str) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of each record, see `read_documents`; those without an id are numbered."""
    for number, (name, text) in enumerate(read_documents(reading, kind, column), 1):
        yield str(number) if name is None else name, text


def read_documents(reading: Reading, kind: str, column: str) -> Iterator[tuple[str | None, str]]:
    """Yield (id, text) of each record, None for an id that is missing or null.

    Args:
        reading: the file and how it is written.
        kind: of the file, a key of `RECORDS`.
        column: of the texts.

    Raises:
        DataError: a record has no text.
    """
    for place, record in RECORDS[kind](reading):
        if column not in record:
            sign = other_separator(list(record)) if kind == "csv" else ""
            raise DataError(
                f"{reading.source}: {place}: no column {column!r:.80}; columns found: "
                f"{listed(list(record))}. "
                + (sign[:1].upper() + sign[1:] or "Name the column with --column.")
            )
        if not isinstance(record[column], str):
            raise DataError(
                f"{reading.source}: {place}, column {column!r:.80}: expected a text, "
                f"got {record[column]!r:.80}."
            )
        name = None if record.get("id") is None else str(record["id"])
        for key, value in (("id", name or ""), (column, record[column])):
            if any("\ud800" <= sign <= "\udfff" for sign in value):  # JSON lets them through
                raise DataError(
                    f"{reading.source}: {place}, column {key!r:.80}: half of a character (a lone "
                    "surrogate), which no encoding can write; export the text again."
                )
        yield name, record[column]


def kind_of(path: Path | None, given: str | None) -> str:
    """The format of the input: as given, else by the file's extension, else plain lines."""
    if given is None:
        suffix = "" if path is None else checked_file(path).suffix.lower()
        given = "txt" if path is None else SUFFIXES.get(suffix, suffix.lstrip("."))
    if given not in RECORDS:
        raise unknown_name("input format", given, RECORDS)
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
                raise DataError(f"{path} does not exist; run `dvc repro` or pass another --model.")
        for path in paths.values():
            check_lock(path)
        if not (self.folder / "config.json").is_file():
            raise DataError(
                f"{self.folder} is no model: expected a folder that `train` wrote, a folder with "
                "an MLmodel file, or a registry URI (models:/NAME@ALIAS)."
            )
        self.model = LongtailModel()
        self.model.load_context(SimpleNamespace(artifacts=paths))
        self.labels, self.thresholds = self.model.labels, self.model.thresholds.tolist()
        return self

    def __exit__(self, *_: object) -> None:
        del self.model

    def ask(self, texts: Sequence[str], **options: float) -> Answer:
        """See `Served.ask`."""
        found = self.model.predict(None, pd.DataFrame({"text": texts}), options)
        return Answer(found["labels"].tolist(), found["scores"].tolist(), 0.0, 0.0)


@contextmanager
def opened(model: str, words: str = OWN) -> Iterator[Answering]:
    """The model of a registry URI, of an MLflow model folder, or of `train`'s model folder.

    Args:
        model: its URI or path.
        words: `own` for the labels that it learned, `current` for those of today by the history in
            data/labels.yaml.
    """
    fates = read_allowed(FILE).fates if words == CURRENT else {}
    with _found(model) as served:
        yield Renamed(served, fates) if words == CURRENT else served


def _found(model: str) -> Served | Workspace:
    if model.startswith(("models:/", "runs:/")):
        registry.connect()
        return Served(model)
    folder = Path(model)
    try:
        packed = (folder / "MLmodel").exists()
    except OSError as error:  # a name that no file can have
        raise DataError(f"--model: {model:.80} is no folder ({error.strerror}).") from None
    return Served(str(folder.resolve())) if packed else Workspace(folder)


def predict(
    rows: Iterable[tuple[str, str]], model: str, size: int, words: str = OWN, **options: float
) -> Iterator[Row]:
    """Yield one record per text, with id, labels and scores.

    Args:
        rows: (id, text) of each document.
        model: registry URI or folder.
        size: documents held in memory at a time.
        words: see `opened`.
        options: `threshold` and `top_k`, as in the model's signature.

    Raises:
        DataError: the model does not load, or refuses a text.
    """
    batches = batched(rows, size)
    first = next(batches, None)  # a bad first row fails before the model is loaded
    if first is None:
        return
    try:
        with opened(model, words) as served:
            for batch in chain([first], batches):
                answer = served.ask([text for _, text in batch], **options)
                for (name, _), labels, scores in zip(
                    batch, answer.labels, answer.scores, strict=True
                ):
                    yield {"id": name, "labels": labels, "scores": [round(s, 6) for s in scores]}
    except ServedError as error:
        raise DataError(f"{error} (`longtail history` lists the champions)") from None


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """The rows in lists of `size` (`itertools.batched` needs Python 3.12)."""
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def check_output(output: Path, input: Path | None) -> None:
    """Check that a file may be written at `output`, and that it is not the input."""
    check_replaceable(output)
    if input is not None and input.exists() and output.exists() and input.samefile(output):
        raise ParameterError(f"{output} is the input; pass another --output.")


def _write(records: Iterable[Row], path: Path | None) -> None:
    if path is None:
        try:
            _write_jsonl(records, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    write = _write_csv if SUFFIXES.get(path.suffix.lower()) == "csv" else _write_jsonl
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write(records, out)


def _write_jsonl(records: Iterable[Row], out: TextIO) -> None:
    out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _write_csv(records: Iterable[Row], out: TextIO) -> None:
    """Columns id, labels, scores; lists separated by commas, as `ingest csv` reads labels."""
    tabs = Path(out.name).suffix.lower() in TABS
    table = csv.writer(out, "excel-tab" if tabs else "excel", lineterminator="\n")
    table.writerow(("id", "labels", "scores"))
    for record in records:
        labels, scores = comma_joined(record["labels"]), ",".join(map(str, record["scores"]))
        table.writerow((harmless(record["id"]), harmless(labels), scores))


def _shown(records: Iterable[Row], total: int | None) -> Iterator[Row]:
    with progress("predict", "documents") as show:
        for done, record in enumerate(records, 1):
            yield record
            show(done, total)


words_option = click.option(
    "--labels",
    "words",
    type=click.Choice(WORDS),
    default=OWN,
    show_default=True,
    help=f"the labels that the model learned, or those of today by the history in {FILE}",
)


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says how a file of texts is written."""
    options = (
        click.option(
            "--format", metavar="|".join(RECORDS), help="input format (default: by file extension)"
        ),
        click.option("--column", default="text", show_default=True, help="column with the texts"),
        click.option(
            "--encoding", default="utf-8", show_default=True, help="encoding of the input"
        ),
        click.option(
            "--separator", metavar="CHAR", help="CSV cell separator (default: comma; tab for .tsv)"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("predict", context_settings=CONTEXT, help=__doc__)
@click.argument("input", type=Path, required=False)
@click.option("--model", help="models:/…, or a model folder (default: the champion)")
@click.option(
    "--output",
    "--out",
    "output",
    type=Path,
    help="JSON Lines, or CSV if it ends in .csv or .tsv (default: JSON Lines on stdout)",
)
@reading_options
@click.option("--threshold", type=float, help="one threshold for all labels, instead of their own")
@click.option("--top-k", type=int, help="maximum number of labels per text")
@words_option
def command(
    input: Path | None,
    model: str | None,
    output: Path | None,
    format: str | None,
    column: str,
    encoding: str,
    separator: str | None,
    threshold: float | None,
    top_k: int | None,
    words: str,
) -> None:
    """Read, predict, write JSON Lines or CSV."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise ParameterError(f"--threshold must be between 0 and 1, got {threshold}.")
    if top_k is not None and top_k < 1:
        raise ParameterError(f"--top-k must be at least 1, got {top_k}.")
    if output is not None:
        check_output(output, input)
    params = load_params("predict", Params)
    asked = registry.champion_uri() if model is None else model
    reading = Reading(input, encoding, separator)
    kind = kind_of(input, format)
    # A wrong row is told before anything is predicted, and the progress knows how far it is.
    again = input is not None and input.is_file()
    total = sum(1 for _ in read_texts(reading, kind, column)) if again else None
    options = {"threshold": threshold, "top_k": top_k}
    chosen = {name: value for name, value in options.items() if value is not None}
    texts = read_texts(reading, kind, column)
    _write(_shown(predict(texts, asked, params.batch_docs, words, **chosen), total), output)


if __name__ == "__main__":
    launch(command)
