"""Top up what annotators have to do: a new queue, named by the night, beside the earlier ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pandas as pd

from components._cli.queue import (
    CORPUS,
    Documents,
    NothingLeft,
    check_writable,
    choose,
    read_forgotten,
    read_pool,
    without_known,
)
from components._cli.queue_params import Params
from components._formats.annotation_tools import TOOLS, write_tasks
from components._formats.corpus import read_corpus
from components._formats.json_lines import json_objects
from components._formats.queue_file import DONE, QUEUE, SHEET, Queued, write_queue
from components._formats.records import Reading
from components._frame.exit_codes import GateNotPassed
from components._frame.files import locked, written
from components._frame.forgotten import digest_of
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._registry import client as registry
from components._registry.renamed import CURRENT
from components.predict import kind_of, reading_options
from longtail.errors import DataError
from longtail.validation.duplicates import text_keys


def read_earlier(folder: Path) -> tuple[Documents, Documents]:
    """The documents of all earlier queues, and those of the queues that are still worked on.

    Raises:
        DataError: a queue's file is damaged.
    """
    forgotten = read_forgotten()
    ids, texts, is_open = [], [], []
    for path in sorted(folder.glob(f"*/{QUEUE}")):
        for number, record in json_objects(path, "utf-8"):
            name, text = record.get("id"), record.get("text")
            if not isinstance(name, str) or not isinstance(text, str):
                raise DataError(
                    f"{path}: line {number} has no id and text, so it is unknown what was queued; "
                    f"restore the file, or remove {path.parent} to queue its documents again."
                )
            if digest_of(name) not in forgotten:
                ids.append(name)
                texts.append(text)
                is_open.append(not (path.parent / DONE).exists())
    found = Documents(ids, texts)
    return found, found.at(np.flatnonzero(is_open))


def count_waiting(queued: Documents, corpus: pd.DataFrame) -> int:
    """How many documents of the queues are not labeled yet."""
    known_ids, known = set(corpus["id"]), set(text_keys(corpus["text"].tolist()))
    keys = text_keys(queued.texts)
    return sum(
        name not in known_ids and key not in known
        for name, key in zip(queued.ids, keys, strict=True)
    )


def champion_address() -> str:
    """The champion's version in the registry, which stays the same when the alias moves.

    Raises:
        GateNotPassed: there is none yet.
    """
    client, name = registry.connect(), registry.model_name()
    with registry.reachable():
        champion = registry.by_alias(client, name, registry.CHAMPION)
    if champion is None:
        raise GateNotPassed(f"{name} has no champion yet, so nothing was queued.")
    return f"models:/{name}/{registry.number(champion)}"


def read_pools(readings: Sequence[tuple[Reading, str]], column: str) -> Documents:
    """The texts of all files of the pool.

    Args:
        readings: the files, each with its format.
        column: of the texts.

    Raises:
        DataError: a file has none, or two different texts have the same id.
    """
    found: dict[str, tuple[str, str]] = {}
    ids, texts = [], []
    for reading, kind in readings:
        own = read_pool(reading, kind, column)
        for name, text in zip(own.ids, own.texts, strict=True):
            before, source = found.setdefault(name, (text, reading.source))
            if before != text:
                raise DataError(
                    f"{source} and {reading.source}: the id {name!r:.80} appears in both, with "
                    "different texts; give each document an id of its own."
                )
        ids += own.ids
        texts += own.texts
    return Documents(ids, texts)


def write_all(queue: Sequence[Queued], labels: Sequence[str], folder: Path, model: str) -> None:
    """Write the queue to a new folder, for every tool; says which one cannot hold its labels."""
    with written(folder) as new:
        new.mkdir()
        write_queue(queue, new / QUEUE)
        try:
            write_queue(queue, new / SHEET)
        except DataError as error:
            print(f"refill: {SHEET} is left out: {error}", file=sys.stderr)
        for name, tool in TOOLS.items():
            try:
                write_tasks(queue, labels, new / f"{name}{tool.suffix}", tool, model)
            except DataError as error:
                print(f"refill: the tasks for {name} are left out: {error}", file=sys.stderr)


@click.command("refill", context_settings=CONTEXT, help=__doc__)
@click.argument("inputs", type=Path, metavar="UNLABELED...", nargs=-1, required=True)
@click.option("--folder", type=Path, required=True, help="of all queues, one folder for each")
@click.option(
    "--size", type=click.IntRange(min=1), default=200, show_default=True,
    help="documents that may wait for annotation at once",
)  # fmt: skip
@reading_options
def command(
    inputs: tuple[Path, ...],
    folder: Path,
    size: int,
    format: str | None,
    column: str,
    encoding: str,
    separator: str | None,
) -> None:
    """Queue as many documents as are missing to `size`; exit with code 4 if there is nothing to do.

    A queue that was written is never changed.
    """
    night = os.environ.get("LONGTAIL_LOGICAL_DATE") or f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    target = folder / night
    for path in inputs:
        check_writable(target / QUEUE, path)
    with locked(folder):
        if target.exists():
            raise GateNotPassed(f"{target} was written before; it stays as it is.")
        earlier, still_open = read_earlier(folder)
        corpus = read_corpus(CORPUS)
        waiting = count_waiting(still_open, corpus)
        if waiting >= size:
            raise GateNotPassed(
                f"{waiting:,} documents of the queues in {folder} wait for annotation, and "
                f"{size:,} may; nothing was queued."
            )
        model = champion_address()
        params = load_params("queue", Params)
        readings = [(Reading(path, encoding, separator), kind_of(path, format)) for path in inputs]
        pool = read_pools(readings, column)
        try:
            source = ", ".join(map(str, inputs))
            docs = without_known(pool, corpus, params.near_similarity, source, earlier)
        except NothingLeft as error:
            raise GateNotPassed(str(error)) from None
        queue, labels = choose(docs, corpus, size - waiting, params, model, CURRENT)
        write_all(queue, labels, target, model)
    print(
        f"{target}: {len(queue):,} documents to annotate; {waiting:,} of earlier queues wait still."
    )


if __name__ == "__main__":
    launch(command)
