"""Show, check and apply the history of labels; propose changes; send split labels to review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import click
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from components._cli.queue import checked_target, task_options
from components._formats.annotation_tools import write_tasks
from components._formats.annotations import read_annotations
from components._formats.corpus import read_corpus
from components._formats.labels_file import FILE, AllowedLabels, read_allowed
from components._formats.queue_file import Queued, write_queue
from components._frame.launch import CONTEXT, launch
from components._sources.relabel import told, uses
from components.ingest import ingest
from longtail.errors import DataError
from longtail.label_matrix import encode, vocabulary
from longtail.validation.label_errors import text_features
from longtail.validation.label_history import SPLIT, Change, current, fates, joining
from longtail.validation.label_proposals import N_FEATURES, centered, proposals

CORPUS = FILE.with_name("corpus.parquet")
JUDGMENTS = FILE.with_name("annotations.parquet")
NO_HISTORY = f"{FILE} has no history; docs/labels.md says how to write one."
DAY = click.DateTime(["%Y-%m-%d"])


def read_history() -> AllowedLabels:
    """The file, with at least one change.

    Raises:
        DataError: it has none, or is wrong.
    """
    allowed = read_allowed(FILE)
    if not allowed.history:
        raise DataError(NO_HISTORY)
    return allowed


@click.option("--at", type=DAY, metavar="DAY", help="as of this day (default: after all changes)")
def run_show(at: datetime | None = None) -> None:
    """Print every change, what its label is called now, and how many documents still have it."""
    day = None if at is None else at.date()
    changes = [c for c in read_history().history if day is None or c.date <= day]
    known = fates(changes)
    counts = uses_of_all(documents()) if CORPUS.exists() else Counter[str]()
    table = Table(title="History of labels", title_justify="left")
    for name in ("date", "change", "label", "now", "documents", "reason"):
        right = name == "documents"
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for change in changes:
        label = change.new[0] if change.old is None else change.old
        fate = known.get(label)
        now = label if fate is None else ", ".join(fate.labels)
        cells = [str(change.date), change.kind, label, now, f"{counts[label]:,}", change.reason]
        table.add_row(*map(Text, cells))
    Console().print(table)


def run_check() -> None:
    """Check the history, and that corpus and judgments follow it; exit with code 3 if not."""
    allowed = read_history()
    judged = read_annotations(JUDGMENTS) or {"labels": []}
    lists = {CORPUS: documents()["labels"].tolist(), JUDGMENTS: judged["labels"]}
    found = {path: uses(labels, allowed.fates) for path, labels in lists.items()}
    wrong = [f"{path}: {told(old, allowed.fates)}." for path, old in found.items() if old]
    if any(label not in allowed.split_labels for old in found.values() for label in old):
        wrong.append("`longtail labels apply` replaces and drops old labels.")
    if wrong:
        raise DataError("\n".join(wrong))
    print(f"{FILE}: {len(allowed.history):,} changes; corpus and judgments follow them.")


def run_apply() -> None:
    """Replace renamed and merged labels in corpus and judgments, and drop retired ones.

    Raises:
        DataError: documents have the new name of a renamed label already.
    """
    allowed = read_history()
    before = uses_of_all(documents())
    if joined := joining(allowed.history, before):
        change = joined[0]
        raise DataError(
            f"{FILE}: {change}, but {before[change.new[0]]:,} documents have "
            f"{change.new[0]!r:.80} already, and nothing could tell the two apart again. Write "
            "'merged' if both are one label, else another name. Nothing was changed."
        )
    ingest([], FILE.parent, migrate=True)
    left = uses(documents()["labels"], allowed.fates)
    if left:
        print(f"{CORPUS}: {told(left, allowed.fates)}.")


@task_options
def run_review(output: Path, tool: str | None = None) -> None:
    """Write the documents of split labels for annotators, with the labels that they may choose."""
    allowed = read_history()
    tasks_for = checked_target(output, tool, CORPUS)
    frame = documents()
    found = to_review(frame, allowed.history)
    if not found:
        raise DataError(f"{CORPUS} has no document with a label that was split; nothing to review.")
    if tasks_for is None:
        write_queue(found, output)
    else:
        known = uses_of_all(frame).keys() - allowed.fates.keys()
        known |= {label for fate in allowed.fates.values() for label in fate.labels}
        beside = write_tasks(found, sorted(known), output, tasks_for, FILE.name)
        print(f"The labels for {tool} are in {beside}.")
    print(
        f"{output}: {len(found):,} documents to review; `longtail ingest --update` takes them back."
    )


def documents() -> pd.DataFrame:
    """The corpus, with labels as they were ingested, but without nulls in their lists."""
    frame = read_corpus(CORPUS, null_labels=True)
    frame["labels"] = [[label for label in own if label is not None] for own in frame["labels"]]
    return frame


def uses_of_all(frame: pd.DataFrame) -> Counter[str]:
    """How many documents have each label."""
    return Counter(label for labels in frame["labels"] for label in set(labels))


def to_review(frame: pd.DataFrame, history: Sequence[Change]) -> list[Queued]:
    """The documents with labels that were split: their other labels, current, and what to choose.

    Args:
        frame: the corpus.
        history: the changes by date.
    """
    known = fates(history)
    why = {}
    for change in history:
        if change.old is not None and known[change.old].review:
            choices = ", ".join(known[change.old].labels)
            why[change.old] = f"{change} ({change.reason}); choose from: {choices}"
    found = []
    for name, text, labels in zip(frame["id"], frame["text"], frame["labels"], strict=True):
        reasons = [why[label] for label in dict.fromkeys(labels) if label in why]
        if reasons:
            kept = [label for label in current(labels, known) if label not in why]
            found.append(Queued(name, text, kept, [1.0] * len(kept), SPLIT, reasons))
    return found


@click.option("--top", default=20, show_default=True, type=click.IntRange(min=1), help="of each")
@click.option(
    "--least", default=15, show_default=True, type=click.IntRange(min=2), help="documents per side"
)
def run_propose(top: int = 20, least: int = 15) -> None:
    """Print labels to merge, and labels to split, with evidence; nothing is changed."""
    frame = documents()
    names = vocabulary(frame["labels"].tolist())
    targets = encode(frame["labels"].tolist(), names)
    texts = frame["text"].tolist()
    features = centered(text_features(texts, N_FEATURES, 0)[:, :-1])
    found = proposals(features, targets, names, texts, least=least, top=top)
    joined, hidden = found["merge"], found["split"]
    print(
        f"{joined['count']:,} pairs of labels are used as one: their texts are hardly told apart."
    )
    for pair in joined["rows"]:
        (one, other), (n, m) = pair["labels"], pair["documents"]
        print(
            f"- {one!r:.80} and {other!r:.80}: {n:,} and {m:,} documents, "
            f"{pair['together']:,} with both; AUC {pair['auc']:.2f}, at most {pair['upper']:.2f}"
        )
    print(f"{hidden['count']:,} labels hide two: their documents are two groups.")
    for split in hidden["rows"]:
        print(f"- {split['label']!r:.80}: cosine of the groups' centers {split['cosine']:.2f}")
        for cluster in split["clusters"]:
            typical = "; ".join(cluster["typical"])
            print(f"  {cluster['documents']:,} documents such as: {typical}")


ACTIONS: dict[str, Callable[..., None]] = {
    "show": run_show,
    "check": run_check,
    "apply": run_apply,
    "review": run_review,
    "propose": run_propose,
}
command = click.Group("labels", context_settings=CONTEXT, help=__doc__)
for _name, _action in ACTIONS.items():
    command.command(_name, context_settings=CONTEXT)(_action)

if __name__ == "__main__":
    launch(command)
