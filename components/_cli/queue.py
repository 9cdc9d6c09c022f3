"""Choose what to annotate next from a pool of texts, with suggested labels and reasons."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd

from components._cli.new_labels import SHOWN, NewLabels, new_labels
from components._cli.queue_params import Params, checked_strategy
from components._formats.annotation_tools import TOOLS, Tool, checked_tool, write_tasks
from components._formats.assignment import read_assignment
from components._formats.corpus import read_corpus
from components._formats.queue_file import Queued, write_queue, writer_of
from components._formats.records import Reading, read_documents
from components._frame.forgotten import LIST, digest_of
from components._frame.launch import CONTEXT, launch
from components._frame.params import load_params
from components._frame.progress import progress
from components._registry import client as registry
from components._registry.evidence import ASSIGNMENT
from components._registry.opened import located, opened
from components._registry.renamed import OWN
from components._registry.worker import ServedError
from components._sources.forget import read_list
from components.predict import Params as PredictParams
from components.predict import (
    batched,
    check_output,
    kind_of,
    reading_options,
    words_option,
)
from longtail.annotation.pool import KEPT, REASONS, left_out
from longtail.annotation.queue import (
    BY_FEATURES,
    NEW_LABEL,
    RANDOM,
    STRATEGIES,
    Pool,
    draw,
    merits,
    places,
)
from longtail.errors import DataError, ParameterError
from longtail.frequency import class_frequencies
from longtail.label_matrix import encode
from longtail.validation.label_errors import text_features

CORPUS = Path("data/corpus.parquet")
N_FEATURES = 256  # of the reduced TF-IDF
AT_RANDOM = "drawn at random"
FORGOTTEN = "to be forgotten"
LISTED = "(`longtail history` lists the champions)"


@dataclass(frozen=True)
class Documents:
    """Ids and texts, `(n_docs,)`."""

    ids: list[str]
    texts: list[str]

    def at(self, rows: np.ndarray) -> Documents:
        """Some of them."""
        return Documents([self.ids[row] for row in rows], [self.texts[row] for row in rows])


NOTHING = Documents([], [])


class NothingLeft(DataError):  # noqa: N818 - no error to who tops up night after night
    """No document of the pool is worth annotating."""


@dataclass(frozen=True)
class Scored:
    """What the model says: labels, their thresholds, and scores `(n_docs, n_labels)` float32."""

    labels: list[str]
    thresholds: np.ndarray
    scores: np.ndarray


def read_pool(reading: Reading, kind: str, column: str) -> Documents:
    """The texts of the pool; one without an id gets one made from its text, the same every time.

    A row number would not do: once annotated, the document would take the place of another.

    Raises:
        DataError: there is none, or two different ones have the same id.
    """
    texts: dict[str, str] = {}
    ids: list[str] = []
    for name, text in read_documents(reading, kind, column):
        name = (name or "").strip() or f"pool-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if texts.setdefault(name, text) != text:
            raise DataError(
                f"{reading.source}: the id {name!r:.80} appears twice, with different texts; "
                "give each document an id of its own."
            )
        ids.append(name)
    if not ids:
        raise DataError(f"{reading.source} has no documents; pass a file with texts.")
    return Documents(ids, [texts[name] for name in ids])


def without_known(
    pool: Documents,
    corpus: pd.DataFrame,
    similarity: float,
    source: str,
    earlier: Documents = NOTHING,
) -> Documents:
    """The documents of the pool that are worth annotating; says on stderr how many are not.

    Args:
        pool: what there is.
        corpus: the labeled documents.
        similarity: least Jaccard index of near-copies, 0 to 1.
        source: name of the pool in messages.
        earlier: documents that were queued before.

    Raises:
        NothingLeft: none is.
    """
    forgotten, n_docs = read_forgotten(), len(pool.ids)
    pool = pool.at(np.flatnonzero([digest_of(name) not in forgotten for name in pool.ids]))
    known = corpus["id"].tolist(), corpus["text"].tolist()
    why = left_out(*known, pool.ids, pool.texts, similarity, earlier.ids, earlier.texts)
    counts = Counter({FORGOTTEN: n_docs - len(why)}) + Counter(why.tolist())
    told = ", ".join(f"{counts[name]:,} {name}" for name in (FORGOTTEN, *REASONS) if counts[name])
    if not counts[KEPT]:
        raise NothingLeft(
            f"{source}: all {n_docs:,} documents are left out ({told}); pass other texts."
        )
    if told:
        print(f"queue: of {n_docs:,} documents, left out: {told}.", file=sys.stderr)
    return pool.at(np.flatnonzero(why == KEPT))


def read_forgotten() -> set[str]:
    """The digests of the documents that are to be forgotten."""
    return read_list(CORPUS.parent.parent / LIST)


def task_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where documents for people go, and for which tool."""
    output = click.option(
        "--output",
        "--out",
        "output",
        type=Path,
        required=True,
        help="Parquet, JSON Lines or CSV, by its extension",
    )
    about = "write tasks for it, and its labels to a file beside"
    return output(click.option("--tool", metavar="|".join(TOOLS), help=about)(command))


def checked_target(output: Path, tool: str | None, input: Path) -> Tool | None:
    """The tool that tasks are written for, None for a plain file; checks that they may be."""
    check_writable(output, input)
    if tool is None:
        writer_of(output)
        return None
    found = checked_tool(tool, output)
    check_writable(output.with_suffix(found.labels_suffix), input)
    return found


def check_writable(path: Path, input: Path) -> None:
    """Check that the queue may go to `path`: not the pool, and not among the pipeline's data."""
    check_output(path, input)
    if CORPUS.parent.resolve() in path.resolve().parents:
        raise ParameterError(
            f"--output: {path} is among the data of the pipeline, which `longtail ingest` alone "
            f"writes; pass a path outside of {CORPUS.parent}/."
        )


def score(texts: Sequence[str], model: str, size: int, words: str = OWN) -> Scored:
    """The scores of all labels, `size` documents at a time.

    Raises:
        DataError: the model does not load, or refuses a text.
    """
    try:
        with opened(model, words) as served, progress("queue", "documents") as show:
            column = {label: i for i, label in enumerate(served.labels)}
            scores = np.zeros((len(texts), len(column)), np.float32)
            done = 0
            for batch in batched(texts, size):
                answer = served.ask(batch, threshold=0.0)  # every label, the best first
                for labels, own in zip(answer.labels, answer.scores, strict=True):
                    scores[done][[column[label] for label in labels]] = own
                    done += 1
                show(done, len(texts))
            return Scored(list(served.labels), np.asarray(served.thresholds), scores)
    except ServedError as error:
        raise DataError(f"{error} {LISTED}") from None


def fixed(model: str) -> str:
    """What `model` means now, so that a slip is told before the pool is read.

    Raises:
        DataError, TemporaryError, ParameterError: as `located`.
    """
    try:
        return located(model)
    except DataError as error:
        raise DataError(f"{error} {LISTED}") from None


def make_pool(docs: Documents, scored: Scored, corpus: pd.DataFrame, strategy: str) -> Pool:
    """What the strategies look at; test documents count as not labeled, since none learns them."""
    if ASSIGNMENT.exists():
        parts = read_assignment(ASSIGNMENT)
        corpus = corpus[~corpus["id"].isin(parts.index[parts == "test"])]
    known = set(scored.labels)
    lists = [[label for label in labels if label in known] for labels in corpus["labels"]]
    targets = encode(lists, scored.labels)
    features = np.zeros((len(corpus) + len(docs.ids), 0), np.float32)
    if strategy in BY_FEATURES:
        features = text_features([*corpus["text"], *docs.texts], N_FEATURES, 0)[:, :-1]
    return Pool(
        scored.scores, scored.thresholds, class_frequencies(targets), features[len(corpus) :],
        features[: len(corpus)], targets,
    )  # fmt: skip


def queued(
    docs: Documents,
    scored: Scored,
    pool: Pool,
    rows: np.ndarray,
    drawn: np.ndarray,
    new: NewLabels,
) -> list[Queued]:
    """The rows of the queue, with what the model suggests and why each was chosen."""
    found = []
    for row, how in zip(rows.tolist(), drawn, strict=True):
        scores = scored.scores[row]
        suggested = np.flatnonzero(scores >= scored.thresholds)
        suggested = suggested[np.argsort(-scores[suggested], kind="stable")]
        if how == RANDOM:
            reasons = [AT_RANDOM]
        elif how == NEW_LABEL:
            reasons = new.reasons(row)
        else:
            [merit] = merits(pool.at(np.array([row])), how)
            best = np.argsort(-merit, kind="stable")[:SHOWN]
            reasons = [reason(scored, pool, row, i) for i in best]
        found.append(
            Queued(
                docs.ids[row],
                docs.texts[row],
                [scored.labels[i] for i in suggested],
                [round(float(scores[i]), 6) for i in suggested],
                how,
                reasons,
            )
        )
    return found


def reason(scored: Scored, pool: Pool, row: int, label: int) -> str:
    """What speaks for a document, for one label."""
    return (
        f"{scored.labels[label]}: score {scored.scores[row, label]:.3f}, threshold "
        f"{scored.thresholds[label]:.3f}, {pool.counts[label]:,} documents to learn from"
    )


def choose(
    docs: Documents, corpus: pd.DataFrame, size: int, params: Params, model: str, words: str
) -> tuple[list[Queued], list[str]]:
    """The queue, and all labels that annotators may give; tells if it is shorter than `size`."""
    if len(docs.ids) < size:
        print(f"queue: {len(docs.ids):,} documents are left, fewer than {size:,}.", file=sys.stderr)
    name = params.strategy
    batch_docs = load_params("predict", PredictParams).batch_docs
    scored = score(docs.texts, model, batch_docs, words)
    pool = make_pool(docs, scored, corpus, name)
    shares = params.random_share, params.new_label_share
    _, n_new = places(min(size, len(docs.ids)), name, *shares)
    new = new_labels(docs.texts, scored.labels, n_new, params.seed)
    rows, drawn = draw(
        pool, size, strategy=name, random_share=params.random_share, likeness=new.likeness,
        new_label_share=params.new_label_share, seed=params.seed,
    )  # fmt: skip
    return queued(docs, scored, pool, rows, drawn, new), [*scored.labels, *new.names]


@click.command("queue", context_settings=CONTEXT, help=__doc__)
@click.argument("input", type=Path, metavar="UNLABELED")
@task_options
@click.option(
    "--size", type=click.IntRange(min=1), default=200, show_default=True, help="documents wanted"
)
@click.option(
    "--strategy", metavar="|".join(STRATEGIES), help="how they are chosen (default: params.yaml)"
)
@click.option("--model", help="models:/…, or a model folder (default: the champion)")
@reading_options
@words_option
def command(
    input: Path,
    output: Path,
    tool: str | None,
    size: int,
    strategy: str | None,
    model: str | None,
    format: str | None,
    column: str,
    encoding: str,
    separator: str | None,
    words: str,
) -> None:
    """Read the pool, leave out what is known, score the rest, choose, write."""
    tasks_for = checked_target(output, tool, input)
    params = load_params("queue", Params)
    if strategy is not None:
        params = params.model_copy(update={"strategy": checked_strategy(strategy)})
    asked = fixed(registry.champion_uri() if model is None else model)
    docs = read_pool(Reading(input, encoding, separator), kind_of(input, format), column)
    corpus = read_corpus(CORPUS)
    docs = without_known(docs, corpus, params.near_similarity, str(input))
    found, labels = choose(docs, corpus, size, params, asked, words)
    if tasks_for is None:
        write_queue(found, output)
    else:
        beside = write_tasks(found, labels, output, tasks_for, asked)
        print(f"queue: the labels for {tool} are in {beside}.", file=sys.stderr)


if __name__ == "__main__":
    launch(command)
