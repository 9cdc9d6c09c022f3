"""Compare new documents (a Parquet file in corpus format) with the champion's training documents.

Exits with code 4 if a limit is exceeded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from pydantic import Field

from components._formats.corpus import read_corpus
from components._formats.json_file import write_json
from components._frame.exit_codes import GateNotPassed
from components._frame.launch import CONTEXT, launch
from components._frame.params import Section, load_params
from components._frame.progress import progress
from components._registry import client as registry
from components._registry import evidence
from components._registry.worker import Served, ServedError
from longtail import drift
from longtail.errors import DataError
from longtail.label_matrix import encode, vocabulary

OUTPUT = Path("reports/drift.json")
BATCH = 256


class Params(Section):
    """The limits of the monitor."""

    min_psi: float = Field(gt=0, description="PSI above which a distribution counts as shifted")
    alpha: float = Field(
        gt=0, lt=1, description="false discovery rate of the tests per label, 0 to 1"
    )
    max_drifted_labels: float = Field(
        ge=0, le=1, description="share of labels that may shift, 0 to 1"
    )
    max_unknown_tokens: float = Field(
        ge=0, le=1, description="share of words new to the model, 0 to 1"
    )
    min_docs: int = Field(ge=1, description="new documents needed before anything is judged")


def run(new: Path, corpus: Path, params: Params, name: str) -> dict[str, Any]:
    """Measure the drift of new documents.

    Args:
        new: corpus file with the new documents.
        corpus: corpus file with the documents that the champion has seen, among others.
        params: the limits.
        name: of the registered model.

    Returns:
        The alarms, whether anything was judged, the champion, and what was measured.
    """
    arrived = read_corpus(new)
    client = registry.connect()
    champion = registry.by_alias(client, name, registry.CHAMPION)
    if champion is None:
        raise DataError(f"{name} has no champion; promote a version first (`longtail run`).")
    seen = evidence.read_seen_ids(str(champion.run_id), champion.tags["train_ids_digest"])
    known = read_corpus(corpus)
    known = known[[evidence.hashed(identifier) in seen for identifier in known["id"]]]
    labels = vocabulary([*known["labels"], *arrived["labels"]])
    sample = evidence.read_sample(str(champion.run_id))
    try:
        with Served(f"models:/{name}/{registry.number(champion)}") as model:
            before = _documents(known, labels, *_answers(model, sample.texts))
            after = _documents(arrived, labels, *_answers(model, arrived["text"].tolist()))
    except ServedError as error:
        raise DataError(f"The champion does not answer: {error}") from None
    measured = drift.measure(before, after, labels, alpha=params.alpha)
    limits = {
        "psi": params.min_psi,
        "share_moved": params.max_drifted_labels,
        "unknown_words": params.max_unknown_tokens,
    }
    enough = len(arrived) >= params.min_docs
    alarms = drift.alarms(measured, limits) if enough else []
    return {"alarms": alarms, "judged": enough, "champion": registry.number(champion), **measured}


def _documents(
    frame: pd.DataFrame, labels: list[str], top_scores: np.ndarray, n_predicted: np.ndarray
) -> drift.Documents:
    targets = encode(frame["labels"].tolist(), labels)
    return drift.Documents(frame["text"].tolist(), targets, top_scores, n_predicted)


def _answers(model: Served, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each text, and the number of labels predicted for it."""
    best, predicted = [], []
    with progress("scoring with the champion", "documents") as show:
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            best += [row[0] for row in model.ask(batch, threshold=0.0, top_k=1).scores]
            predicted += [len(row) for row in model.ask(batch).labels]
            show(len(best), len(texts))
    return np.array(best), np.array(predicted)


@click.command("drift", context_settings=CONTEXT, help=__doc__)
@click.argument("new", type=Path)
@click.option(
    "--corpus", type=Path, default=evidence.CORPUS, show_default=True, help="the clean corpus"
)
def command(new: Path, corpus: Path) -> None:
    """Measure drift, write `reports/drift.json`, and report what exceeds its limit."""
    params = load_params("drift", Params)
    with registry.reachable():
        found = run(new, corpus, params, registry.model_name())
    write_json(found, OUTPUT, indent=2, allow_nan=True)
    if found["alarms"]:
        raise GateNotPassed(" ".join(found["alarms"]))
    n_docs = found["documents"]["new"]
    few = "" if found["judged"] else f" {n_docs} documents are too few to judge."
    print(f"No limit was exceeded.{few}")


if __name__ == "__main__":
    launch(command)
