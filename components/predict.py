"""Predict labels with scores for texts from stdin, a file, or a folder or bucket of Parquet."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click
from pydantic import Field

from components._formats.columns import comma_joined
from components._formats.labels_file import FILE
from components._formats.lake import check_apart, is_lake, opened_lake
from components._formats.records import RECORDS, Reading, read_documents
from components._formats.text_file import checked_file
from components._frame.files import check_replaceable, written
from components._frame.launch import CONTEXT, launch
from components._frame.params import Section, load_params
from components._frame.progress import progress
from components._frame.suffixes import SUFFIXES, TABS
from components._registry import client as registry
from components._registry.lake_run import Asked, planned, run_plan
from components._registry.opened import identified, opened
from components._registry.renamed import OWN, WORDS
from components._registry.spark import Sparked
from components._registry.worker import ServedError
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


def kind_of(path: Path | None, given: str | None) -> str:
    """The format of the input: as given, else by the file's extension, else plain lines."""
    if given is None:
        suffix = "" if path is None else checked_file(path).suffix.lower()
        given = "txt" if path is None else SUFFIXES.get(suffix, suffix.lstrip("."))
    if given not in RECORDS:
        raise unknown_name("input format", given, RECORDS)
    return given


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
    with told_served(), opened(model, words) as served:
        for batch in chain([first], batches):
            answer = served.ask([text for _, text in batch], **options)
            for (name, _), labels, scores in zip(batch, answer.labels, answer.scores, strict=True):
                yield {"id": name, "labels": labels, "scores": [round(s, 6) for s in scores]}


@contextmanager
def told_served() -> Iterator[None]:
    """Turn what a model's process says into a DataError."""
    try:
        yield
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


def predict_lake(
    source: str,
    target: str,
    model: str,
    column: str,
    size: int,
    spark: str | None = None,
    **options: float,
) -> str:
    """Predict a folder or `s3://` prefix of Parquet files, and return what was done in one line.

    What was predicted before is left: from a file of the same size and time, with the same model
    and options. Outputs of another model are replaced.

    Args:
        source: the folder or prefix.
        target: where outputs go, by the names of the inputs.
        model: registry URI or folder.
        column: of the texts.
        size: documents held in memory at a time, without Spark.
        spark: master of the Spark cluster that computes the answers; None is this process's model.
        options: `threshold` and `top_k`, as in the model's signature.

    Raises:
        DataError: the model does not load; files could not be predicted, the others are done.
        ParameterError: one folder is in the other.
    """
    inputs, outputs = opened_lake(source), opened_lake(target)
    check_apart(inputs, outputs)
    model, digest = identified(model)
    asked = Asked(digest, column, options)
    with outputs.held():
        plan = planned(inputs, outputs, asked)
        if not plan.todo:
            return plan.told(0, 0)
        if spark is not None:
            with Sparked(model, spark, **options) as cluster:
                return run_plan(
                    plan, inputs, outputs, asked, cluster.ask, cluster.size, cluster.at_a_time
                )
        with opened(model) as served:
            return run_plan(
                plan, inputs, outputs, asked, lambda texts: served.ask(texts, **options), size
            )


@click.command("predict", context_settings=CONTEXT, help=__doc__)
@click.argument("input", required=False)
@click.option("--model", help="models:/…, or a model folder (default: the champion)")
@click.option(
    "--output",
    "--out",
    "output",
    help="JSON Lines, or CSV if it ends in .csv or .tsv (default: JSON Lines on stdout); for a "
    "folder or s3:// prefix another one",
)
@reading_options
@click.option("--threshold", type=float, help="one threshold for all labels, instead of their own")
@click.option("--top-k", type=int, help="maximum number of labels per text")
@words_option
@click.option("--spark", metavar="MASTER", help="Spark cluster that predicts a folder, or local[N]")
def command(
    input: str | None,
    model: str | None,
    output: str | None,
    format: str | None,
    column: str,
    encoding: str,
    separator: str | None,
    threshold: float | None,
    top_k: int | None,
    words: str,
    spark: str | None,
) -> None:
    """Read, predict, write JSON Lines or CSV."""
    if threshold is not None and not 0 <= threshold <= 1:
        raise ParameterError(f"--threshold must be between 0 and 1, got {threshold}.")
    if top_k is not None and top_k < 1:
        raise ParameterError(f"--top-k must be at least 1, got {top_k}.")
    params = load_params("predict", Params)
    options = {"threshold": threshold, "top_k": top_k}
    chosen = {name: value for name, value in options.items() if value is not None}
    if input is not None and is_lake(input):
        if words != OWN:
            raise ParameterError(
                f"{input} is a folder, predicted in the model's own labels; leave --labels out."
            )
        if output is None or separator is not None or format not in (None, "parquet"):
            raise ParameterError(
                f"{input} is a folder: its Parquet files are predicted, each to a file of the same "
                "name below --output; pass --output, and neither --format nor --separator."
            )
        asked = registry.champion_uri() if model is None else model
        size = params.batch_docs
        with told_served():
            print("predict:", predict_lake(input, output, asked, column, size, spark, **chosen))
        return
    if spark is not None:
        raise ParameterError(
            "--spark predicts a folder or s3:// prefix of Parquet files; pass one."
        )
    path, to = (None if name is None else Path(name) for name in (input, output))
    if to is not None:
        check_output(to, path)
    asked = registry.champion_uri() if model is None else model
    reading = Reading(path, encoding, separator)
    kind = kind_of(path, format)
    # A wrong row is told before anything is predicted, and the progress knows how far it is.
    again = path is not None and path.is_file()
    total = sum(1 for _ in read_texts(reading, kind, column)) if again else None
    texts = read_texts(reading, kind, column)
    _write(_shown(predict(texts, asked, params.batch_docs, words, **chosen), total), to)


if __name__ == "__main__":
    launch(command)
