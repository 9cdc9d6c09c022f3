"""Choose which labeled documents to review: those whose labels are suspected or contradicted."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from components._cli.queue import checked_target, task_options
from components._formats.annotation_tools import write_tasks
from components._formats.assignment import read_assignment
from components._formats.corpus import read_corpus
from components._formats.labels_file import FILE as LABELS
from components._formats.labels_file import read_allowed
from components._formats.queue_file import Doubtful, write_queue
from components._formats.reviews import FILE, read_reviews
from components._formats.suspects_file import Named, read_suspects
from components._frame.launch import CONTEXT, launch
from components._registry.evidence import ASSIGNMENT
from components._registry.evidence import CORPUS as CLEAN
from longtail.annotation.review import renamed, settled
from longtail.annotation.review_order import by_document
from longtail.errors import DataError
from longtail.label_matrix import encode, vocabulary
from longtail.validation.label_errors import Suspect

DATA, SUSPECTS = Path("data"), Path("reports/validate/suspects.csv")
MODEL = "validate"  # the suggestions come from no version of the registry


def open_suspects(found: Sequence[Named], corpus: pd.DataFrame) -> list[Suspect]:
    """The suspects as rows and columns; those that a person has decided on since are left out."""
    lists = corpus["labels"].tolist()
    labels = vocabulary([*lists, [s.label for s in found]])
    row = {name: k for k, name in enumerate(corpus["id"])}
    column = {label: i for i, label in enumerate(labels)}
    if unknown := [s.id for s in found if s.id not in row]:
        raise DataError(
            f"{SUSPECTS} names {unknown[0]!r:.80}, which {CLEAN} does not have; run the stage "
            "`validate` again."
        )
    reviews = renamed(read_reviews(DATA / FILE), read_allowed(LABELS).history)
    targets = encode(lists, labels)
    ids, texts = corpus["id"].tolist(), corpus["text"].tolist()
    done = settled(reviews, ids, texts, targets, labels)
    suspects = [Suspect(s.kind, row[s.id], column[s.label], s.score) for s in found]
    return [s for s in suspects if not done[s.document, s.label]]


def without_test(suspects: Sequence[Suspect], ids: Sequence[str]) -> list[Suspect]:
    """The suspects that are not in test; says how many documents are left out.

    To correct just those test labels that a model doubts would flatter every such model.
    """
    parts = read_assignment(ASSIGNMENT).to_dict() if ASSIGNMENT.exists() else {}
    kept = [s for s in suspects if parts.get(ids[s.document]) != "test"]
    if n_left := len({s.document for s in suspects} - {s.document for s in kept}):
        print(f"review: left out: {n_left:,} documents of test.", file=sys.stderr)
    return kept


def doubtful(document: pd.Series, own: Sequence[Named], asked: str) -> Doubtful:
    """The document as a task, with a question for each of its suspected labels."""
    current = list(document["labels"])
    given = set(current)
    questions: list[dict[str, Any]] = [
        {"rule": s.kind, "label": s.label, "score": s.score, "given": s.label in given,
         "asked": asked} for s in own
    ]  # fmt: skip
    # A conflict does not say who is right: two copies would be told to swap their labels.
    doubted = [s.label for s in own if s.kind not in REASONS]
    wrong, missing = given & set(doubted), [label for label in doubted if label not in given]
    suggested = [label for label in current if label not in wrong] + list(dict.fromkeys(missing))
    return Doubtful(
        document["id"],
        document["text"],
        suggested,
        current,
        json.dumps(questions, ensure_ascii=False),
        [_reason(s, s.label in given) for s in own],
    )


REASONS = {
    "copies": "{score:.0%} of the documents with the same text, or nearly the same, {others} it",
    "annotators": "{score:.0%} of the annotators {others} it",
}


def _reason(suspect: Named, given: bool) -> str:
    has, others = ("given", "lack") if given else ("not given", "have")
    why = REASONS.get(suspect.kind, "the rule `{kind}` doubts it, score {score:.3f}")
    told = why.format(kind=suspect.kind, score=suspect.score, others=others)
    return f"{suspect.label}: {has}, but {told}"


@click.command("review", context_settings=CONTEXT, help=__doc__)
@task_options
@click.option(
    "--size", type=click.IntRange(min=1), default=200, show_default=True, help="documents wanted"
)
def command(output: Path, tool: str | None, size: int) -> None:
    """Read what `validate` suspects, leave out what is settled, write the worst."""
    tasks_for = checked_target(output, tool, SUSPECTS)
    listed = read_suspects(SUSPECTS)
    corpus = read_corpus(CLEAN)
    labels = vocabulary([*corpus["labels"], [s.label for s in listed]])
    found = without_test(open_suspects(listed, corpus), corpus["id"].tolist())
    if not found:
        raise DataError("no suspects are left to review.")
    asked = dt.datetime.now(dt.UTC).date().isoformat()
    rows = []
    for at, own in list(by_document(found).items())[:size]:
        document = corpus.iloc[at]
        named = [Named(s.kind, document["id"], labels[s.label], s.score, "") for s in own]
        rows.append(doubtful(document, named, asked))
    if len(rows) < size:
        print(f"review: {len(rows):,} documents are suspected, fewer than {size:,}.",
              file=sys.stderr)  # fmt: skip
    if tasks_for is None:
        write_queue(rows, output)
    else:
        beside = write_tasks(rows, labels, output, tasks_for, MODEL)
        print(f"review: the labels for {tool} are in {beside}.", file=sys.stderr)


if __name__ == "__main__":
    launch(command)
