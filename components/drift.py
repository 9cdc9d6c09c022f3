"""Compare documents that arrived since with the champion's: drift, and its honest score.

Without NEW they are those of the corpus that the champion's own corpus did not have. Exits with
code 4 if a limit is exceeded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd
from pydantic import Field

from components._formats.corpus import read_corpus
from components._formats.json_file import write_json
from components._formats.labels_file import FILE, read_allowed
from components._frame.exit_codes import GateNotPassed
from components._frame.launch import CONTEXT, launch
from components._frame.params import MOST_DOCS, Section, Seed, load_params
from components._registry import arrivals as arrival
from components._registry import client as registry
from components._registry import decision_record, evidence, watch
from components._registry import reference as references
from components._registry.arrivals import Answered, Arrivals
from components._registry.rollback import roll_back
from components._registry.worker import Served, ServedError
from longtail import drift
from longtail.errors import DataError, ParameterError
from longtail.label_matrix import encode, vocabulary

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


class Params(Section):
    """The limits of the monitor."""

    min_psi: float = Field(
        gt=0, le=100, description="PSI above which a distribution counts as shifted"
    )
    alpha: float = Field(
        gt=0,
        lt=0.5,
        description="share of measurements without drift that may raise an alarm, 0 to 0.5; "
        "false discovery rate of the tests per label",
    )
    max_drifted_labels: float = Field(
        ge=0, le=1, description="share of labels that may shift, 0 to 1"
    )
    max_unknown_tokens: float = Field(
        ge=0, le=1, description="share of words new to the model, 0 to 1"
    )
    min_docs: int = Field(
        ge=1, le=MOST_DOCS, description="new documents needed before anything is judged"
    )
    n_draws: int = Field(ge=199, le=100_000, description="draws of the distributions without drift")
    seed: Seed = Field(description="of the draws")
    watch: watch.WatchParams


def run(client: MlflowClient, params: Params, corpus: Path, new: Path | None) -> dict[str, Any]:
    """Measure drift and the champion's honest score.

    Args:
        client: of the registry.
        params: the limits.
        corpus: corpus file with today's documents, those that the champion has seen among them.
        new: corpus file with the documents to compare with those; None takes the documents of
            `corpus` that arrived after the champion was registered.

    Returns:
        `alarms`, `champion`, whether anything was `judged`, and if so, what was measured; else the
        `reason` why not.
    """
    name = registry.model_name()
    champion = registry.by_alias(client, name, registry.CHAMPION)
    if champion is None:
        if new is not None:
            raise DataError(f"{name} has no champion; promote a version first (`longtail run`).")
        return _nothing(None, f"{name} has no champion yet.")
    number = registry.number(champion)
    given = None if new is None else read_corpus(new)
    if given is not None and given.empty:
        raise DataError(f"{new} has no document; drift needs new ones to compare.")
    found = arrival.find(client, champion, read_corpus(corpus), given)
    if found is None:
        reason = "it was registered before versions kept the ids of their documents"
        return _nothing(
            number, f"Which documents are new to version {number} is unknown: {reason}."
        )
    n_new, enough = len(found.new), len(found.new) >= params.min_docs
    if not enough and new is None:
        reason = f"{n_new} documents arrived after version {number} was registered"
        return _nothing(number, f"{reason}; {params.min_docs} are needed.")
    if not len(found.known):
        return _nothing(number, f"{corpus} has no document that version {number} was made from.")
    measured, watched = _measure(client, champion, found, params)
    alarms = drift.alarms(measured, limits(params), alpha=params.alpha) if enough else []
    return {
        "alarms": alarms,
        "judged": enough,
        "champion": number,
        "watch": watched,
        **measured,
    }


def _nothing(champion: str | None, reason: str) -> dict[str, Any]:
    return {"alarms": [], "judged": False, "champion": champion, "reason": reason}


def limits(params: Params) -> dict[str, float]:
    """The limits as `longtail.drift.alarms` takes them."""
    return {
        "psi": params.min_psi,
        "share_moved": params.max_drifted_labels,
        "unknown_words": params.max_unknown_tokens,
    }


def _measure(
    client: MlflowClient, champion: ModelVersion, found: Arrivals, params: Params
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask the champion about the new documents, and measure both kinds of change."""
    kept = references.read(str(champion.run_id))
    calibration = None if kept is None else kept.calibration
    try:
        with Served(f"models:/{champion.name}/{registry.number(champion)}") as model:
            answered = arrival.answers(model, found.new["text"].tolist(), calibration)
            before = _sample(model, champion) if kept is None else kept.answers
    except ServedError as error:
        raise DataError(f"The champion does not answer: {error}") from None
    labels = vocabulary([*found.known["labels"], *found.new["labels"]])
    measured = drift.measure(
        _documents(found.known, found.known_units, labels),
        _documents(found.new, found.new_units, labels),
        labels,
        (before, _unseen(found, answered)) if found.unseen.any() else None,
        alpha=params.alpha,
        n_draws=params.n_draws,
        seed=params.seed,
    )
    # The documents have the labels of today, so the champion's answers need them, too.
    side = watch.Side(found, answered.renamed(read_allowed(FILE).fates), kept)
    promoted = watch.promoted_score(client, champion, kept)
    watched = watch.measure(side, promoted, params.watch)
    return measured | {"scored_documents": len(before.top_scores)}, watched


def _documents(frame: pd.DataFrame, units: np.ndarray, labels: list[str]) -> drift.Documents:
    targets = encode(frame["labels"].tolist(), labels)
    return drift.Documents(frame["text"].tolist(), targets, units)


def _sample(model: Served, champion: ModelVersion) -> drift.Answers:
    """The answers to the version's few kept texts, for one that kept no reference."""
    texts = evidence.read_sample(str(champion.run_id)).texts
    found = arrival.answers(model, texts, None)
    return drift.Answers(
        found.top_scores, np.diff(found.predicted.indptr), np.arange(len(found.top_scores))
    )


def _unseen(found: Arrivals, answered: Answered) -> drift.Answers:
    """The answers to new documents that the champion has not trained on, nor on their kind."""
    rows = np.flatnonzero(found.unseen)
    n_predicted = np.diff(answered.predicted.indptr)
    return drift.Answers(answered.top_scores[rows], n_predicted[rows], found.new_units[rows])


def judge(client: MlflowClient, found: dict[str, Any], params: Params, *, restore: bool) -> None:
    """Add the alarm of an honest score below its limit, and what to do about it.

    Args:
        client: of the registry.
        found: what `run` returned; changed in place.
        params: the limits.
        restore: whether the previous champion may be restored, if the parameters say so too.
    """
    watched = found.get("watch")
    if not watched or not watched["below"]:
        return
    sentence = watch.alarm(watched)
    champion = registry.by_alias(client, registry.model_name(), registry.CHAMPION)
    previous = None if champion is None else watch.restorable(client, champion)
    if champion is None or registry.number(champion) != found["champion"]:
        found["alarms"].append(f"{sentence} But another version is the champion by now.")
        return
    if previous is None:
        found["alarms"].append(f"{sentence} There is no previous champion to restore.")
        return
    reason = watch.reason(watched)
    watched["rollback"] = watch.command(previous, reason)
    if not (restore and params.watch.rollback):
        found["alarms"].append(f"{sentence} To restore it: `{watched['rollback']}`.")
        return
    try:
        roll_back(
            client,
            champion.name,
            reason=reason,
            leave=found["champion"],
            to=registry.number(previous),
        )
    except (DataError, ParameterError) as error:
        found["alarms"].append(f"{sentence} Version {previous.version} was not restored: {error}")
        return
    watched["restored"] = registry.number(previous)
    back = f"Version {previous.version} is the champion again, and promotion is held"
    found["alarms"].append(f"{sentence} {back} (`longtail promote release --reason …` lifts it).")


@click.command("drift", context_settings=CONTEXT, help=__doc__)
@click.argument("new", type=Path, required=False)
@click.option(
    "--corpus", type=Path, default=evidence.CORPUS, show_default=True, help="the clean corpus"
)
def command(new: Path | None, corpus: Path) -> None:
    """Measure, and report exceeded limits by the exit code."""
    found = monitor(new, corpus)
    if found["alarms"]:
        raise GateNotPassed(" ".join(found["alarms"]))
    print(summary(found))


def monitor(new: Path | None = None, corpus: Path = evidence.CORPUS) -> dict[str, Any]:
    """Measure, write `reports/drift.json`, show it on the page, and return it."""
    params = load_params("drift", Params)
    client = registry.connect()
    with registry.reachable():
        found = run(client, params, corpus, new)
        judge(client, found, params, restore=new is None)
    write_json(found, decision_record.DRIFT, indent=2, allow_nan=True)
    decision = decision_record.read()
    if decision:
        decision_record.refresh_page(decision)
    return found


def summary(found: dict[str, Any]) -> str:
    """One line on what was found, without an alarm."""
    if "reason" in found:
        return f"Not measured: {found['reason']}"
    n_docs, measured = found["documents"]["new"], found["watch"]["measured"]
    line = f"{n_docs:,} new documents: no limit was exceeded."
    if not found["judged"]:
        line = f"{n_docs:,} new documents are too few to judge."
    if measured is not None:
        line += f" {watch.compared(found['watch'])}"
    return line


if __name__ == "__main__":
    launch(command)
