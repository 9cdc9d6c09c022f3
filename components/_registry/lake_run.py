"""Predicts the partitions of a lake that were not predicted before, each whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from components._formats.lake import (
    Lake,
    Partition,
    read_origin,
    read_partition,
    write_partition,
)
from components._frame.progress import progress
from components._registry.worker import Answer
from longtail.errors import DataError

MOST_NAMED = 5
AT_A_TIME = 16  # footers that are read at a time: in a bucket, each costs several round trips


@dataclass(frozen=True)
class Asked:
    """What every partition is predicted by.

    Attributes:
        digest: of the model's files.
        column: of the texts.
        options: `threshold` and `top_k`, as in the model's signature.
    """

    digest: str
    column: str
    options: dict[str, float]

    def origin(self, partition: Partition) -> dict[str, Any]:
        """What is written down with the outputs of `partition`; equal means: need not be redone."""
        return {
            "input": {"bytes": partition.size, "modified": partition.modified},
            "model": self.digest,
            "column": self.column,
            "options": self.options,
        }


@dataclass(frozen=True)
class Plan:
    """Which partitions are to be predicted, which were, and which outputs have no input any more.

    Attributes:
        todo: without an output, or whose output is of another input, model, or option.
        again: how many of `todo` have an output.
        done: how many partitions were predicted before.
        left: outputs without an input, by name.
    """

    todo: list[Partition]
    again: int
    done: int
    left: list[str]

    def told(self, n_failed: int, n_docs: int) -> str:
        """What was done: how many of `todo` failed, and how many documents the others have."""
        n_all, n_now = self.done + len(self.todo), len(self.todo) - n_failed
        line = (
            f"{n_all:,} partitions: {n_now:,} predicted now ({n_docs:,} documents), "
            f"{self.done:,} before, {n_failed:,} not."
        )
        if self.again:
            line += f" {self.again:,} had an output of another input, model, or option."
        if self.left:
            line += f" Outputs without an input were left: {_names(self.left)}."
        return line


def planned(source: Lake, target: Lake, asked: Asked) -> Plan:
    """Compare the outputs that exist with the inputs.

    Raises:
        DataError: there is no input, or a file where an output belongs was made by somebody else.
    """
    inputs = source.partitions()
    if not inputs:
        raise DataError(f"{source.address} has no Parquet files (*.parquet); check the path.")
    outputs = [output.name for output in target.partitions()]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = pool.map(lambda name: _origin(target, name), outputs)
        origins = dict(zip(outputs, found, strict=True))
    todo = [item for item in inputs if origins.get(item.name) != asked.origin(item)]
    again = sum(item.name in origins for item in todo)
    left = sorted(origins.keys() - {item.name for item in inputs})
    return Plan(todo, again, len(inputs) - len(todo), left)


def _origin(target: Lake, name: str) -> Any:
    try:
        found = read_origin(target, name)
    except DataError as error:
        raise DataError(f"{error} It is in the place of an output: delete it first.") from None
    if found is None:
        raise DataError(
            f"{target.address}/{name} was not written by `longtail predict`, expected an empty "
            "folder, or one with earlier outputs; pass another --output. Nothing was written."
        )
    return found


def run_plan(
    plan: Plan,
    source: Lake,
    target: Lake,
    asked: Asked,
    ask: Callable[[list[str]], Answer],
    size: int,
    at_a_time: int = 1,
) -> str:
    """Predict what is to be done, and return what was, in one line.

    Args:
        plan: from `planned`.
        source: the inputs.
        target: where outputs go, by the names of the inputs.
        asked: as for `planned`.
        ask: answers texts, in any number of threads.
        size: documents per question.
        at_a_time: partitions; `size` documents of each are in memory.

    Raises:
        DataError: partitions could not be predicted; each was named on stderr, the others are done.
    """
    failed: list[str] = []
    n_docs = 0

    def one(partition: Partition) -> int | DataError:
        texts = read_partition(source, partition.name, asked.column)
        rows = _answered(texts, ask, size)
        try:
            return write_partition(target, partition.name, rows, asked.origin(partition))
        except DataError as error:
            return error

    with progress("predict", "partitions") as show:
        pool = ThreadPoolExecutor(at_a_time)
        try:
            for done, found in enumerate(pool.map(one, plan.todo), 1):
                if isinstance(found, DataError):
                    failed.append(plan.todo[done - 1].name)
                    print(f"predict: {found}", file=sys.stderr)
                else:
                    n_docs += found
                show(done, len(plan.todo))
        finally:
            # Not waited for: whoever interrupts this ends the model, and with it every question.
            pool.shutdown(wait=False, cancel_futures=True)
    line = plan.told(len(failed), n_docs)
    if failed:
        raise DataError(f"{line} Nothing was written for {_names(failed)}; the reasons are above.")
    return line


def _answered(
    texts: Iterator[tuple[str | None, str]],
    ask: Callable[[list[str]], Answer],
    size: int,
) -> Iterator[tuple[str, list[str], list[float]]]:
    number = 0
    while batch := list(islice(texts, size)):
        answer = ask([text for _, text in batch])
        for (name, _), labels, scores in zip(batch, answer.labels, answer.scores, strict=True):
            number += 1
            yield str(number) if name is None else name, labels, scores


def _names(names: Sequence[str]) -> str:
    more = f", and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
