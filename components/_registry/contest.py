"""Prepares what the gate judges: the test set as challenger, baseline and champion predict it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from components._formats.assignment import read_groups
from components._formats.json_file import read_json
from components._frame.progress import progress
from components._frame.text_store import TextStore
from components._registry import client as registry
from components._registry import evidence
from components._registry.evidence import IncomparableError
from components._registry.worker import Served, ServedError
from longtail import gate
from longtail.errors import DataError
from longtail.evaluation.metrics import apply_thresholds, compute
from longtail.label_matrix import encode
from longtail.validation.label_history import Fates

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BATCH = 256


def prepare(
    challenger: ModelVersion,
    champion: ModelVersion | None,
    max_int8_loss: dict[str, float],
    fates: Fates,
) -> tuple[gate.Contest, list[str], list[gate.Line]]:
    """Read the workspace's test set once, and have every model predict it.

    The champion is scored now, on the documents that it has not seen. If that is not possible, the
    contest has no champion and a line says why.

    Args:
        challenger: the version to judge.
        champion: the version it is compared with; None for none.
        max_int8_loss: metric to the largest loss of an int8 version, as a fraction.
        fates: what labels have become; the champion's predictions of old ones count for the new.

    Returns:
        The contest, the ids of its test documents, and the lines of what failed so far.
    """
    contest, ids = _against_baseline()
    lines: list[gate.Line] = []
    quantized = challenger.tags[registry.RUNTIME] == "onnx_int8"
    texts = evidence.texts_of(ids) if quantized or champion is not None else []
    if quantized:
        contest, lines = _quantized(contest, challenger, texts, max_int8_loss)
    if champion is not None:
        try:
            found = _champion(champion, ids, texts).renamed(fates, contest.labels)
            contest = replace(contest, champion=found)
        except (ServedError, IncomparableError) as error:
            reason = f"The champion cannot be compared: {error}"
            lines = [*lines, gate.fact("champion", False, reason)]
    return contest, ids, lines


def _against_baseline() -> tuple[gate.Contest, list[str]]:
    """Challenger and baseline on the workspace's test set, and the ids of its documents."""
    model, baseline = evidence.test_scores()
    thresholds = read_json(evidence.THRESHOLDS)["models"]
    frequencies = read_json(evidence.FREQUENCIES)
    if not (model.labels == baseline.labels == frequencies["labels"]):
        raise DataError("Scores and frequencies have different labels; run `dvc repro`.")
    contest = gate.Contest(
        labels=model.labels,
        groups=frequencies["groups"],
        doc_groups=read_groups(evidence.ASSIGNMENT).loc[model.ids].tolist(),
        targets=model.targets,
        challenger=apply_thresholds(model.scores, thresholds["model"]["thresholds"]),
        baseline=apply_thresholds(baseline.scores, thresholds["baseline"]["thresholds"]),
    )
    return contest, model.ids


def _quantized(
    contest: gate.Contest,
    challenger: ModelVersion,
    texts: Sequence[str],
    max_loss: dict[str, float],
) -> tuple[gate.Contest, list[gate.Line]]:
    """The challenger as it is served, and what int8 costs against the model it was made from."""
    try:
        predicted, _ = _predictions(challenger, texts)
    except ServedError as error:
        return contest, [gate.fact("int8", False, f"The int8 version does not answer: {error}")]
    lines = gate.quantized(predicted, contest.challenger, contest.targets, max_loss)
    return replace(contest, challenger=predicted), lines


def _champion(champion: ModelVersion, ids: Sequence[str], texts: Sequence[str]) -> gate.Champion:
    """The champion's answers on the documents that it has not seen; empty rows for the others."""
    digest = champion.tags.get("train_ids_digest")
    if not digest:
        raise IncomparableError(
            "its tag train_ids_digest is missing; run `longtail promote decide --rebase`."
        )
    known = evidence.read_seen_ids(str(champion.run_id), digest)
    seen = np.array([evidence.hashed(identifier) in known for identifier in ids], dtype=bool)
    fresh = np.flatnonzero(~seen)
    answers, labels = _predictions(champion, [texts[row] for row in fresh.tolist()])
    place = sp.csr_matrix(
        (np.ones(len(fresh), dtype=np.int8), (fresh, np.arange(len(fresh)))),
        shape=(len(ids), len(fresh)),
    )
    return gate.Champion((place @ answers).tocsr(), labels, seen)


def _predictions(version: ModelVersion, texts: Sequence[str]) -> tuple[sp.csr_matrix, list[str]]:
    """0/1 CSR `(n_docs, n_labels)` of the version as it is served, and its labels.

    What these files said of a text before is not asked again. The version is started all the same,
    and asked for the first text: one that was changed or does not answer is not compared.
    """
    with (
        Served(f"models:/{version.name}/{version.version}") as model,
        progress(f"scoring version {version.version}", "documents") as show,
    ):
        labels = list(model.labels)
        facts = {"files": version.tags[registry.FILES], "environment": _environment()}
        store = TextStore.cached("answers", facts, -(-len(labels) // 8), np.uint8)
        known = store.known(texts)
        # The first one in any case: a version may load and yet not answer.
        new = list(dict.fromkeys([*texts[:1], *(text for text in texts if text not in known)]))
        answered = 0
        for some in _batches(new):
            packed = np.packbits(encode(model.ask(some).labels, labels).toarray(), axis=1)
            store.put(some, packed)
            known |= zip(some, packed, strict=True)
            answered += len(some)
            show(answered, len(new))
    rows = [_unpacked([known[text] for text in some], len(labels)) for some in _batches(texts)]
    return sp.vstack([sp.csr_matrix((0, len(labels)), dtype=np.int8), *rows], "csr"), labels


def _unpacked(packed: list[np.ndarray], n_labels: int) -> sp.csr_matrix:
    return sp.csr_matrix(np.unpackbits(np.stack(packed), axis=1, count=n_labels).view(np.int8))


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))


def _environment() -> list[str]:
    """Python and the installed packages, any of which may change an answer."""
    found = [f"{sys.version} {platform.machine()}"]
    for each in distributions():
        try:
            found.append(f"{each.name}=={each.version}")
        except (OSError, TypeError, KeyError) as error:  # what an interrupted install left
            found.append(repr(error))
    return sorted(found)


def challenger_metrics(contest: gate.Contest) -> dict[str, float]:
    """Micro and macro F1 of the challenger: `metric` over all labels, `GROUP/metric` per group."""
    found = {}
    for group in (gate.ALL, *dict.fromkeys(contest.groups)):
        columns = np.flatnonzero(np.isin(contest.groups, group) | (group == gate.ALL))
        for metric in ("micro_f1", "macro_f1"):
            key = metric if group == gate.ALL else f"{group}/{metric}"
            predicted, targets = contest.challenger[:, columns], contest.targets[:, columns]
            found[key] = compute(metric, predicted, targets)
    return found


def champion_metrics(lines: Sequence[gate.Line]) -> dict[str, float]:
    """The champion's metrics on the shared labels and the documents that it has not seen."""
    return {
        line.metric if line.slice == gate.ALL else f"{line.slice}/{line.metric}": line.champion
        for line in lines
        if line.rule in ("gain", "loss") and line.champion is not None
    }
