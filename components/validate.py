"""Check the annotations; keep the sound documents, quarantine the rest with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from components._formats import choices as past
from components._formats.annotations import read_annotations, write_label_weights
from components._formats.corpus import read_corpus, write_corpus
from components._formats.data_docs import Expectation, expect
from components._formats.json_file import write_json
from components._formats.labels_file import read_allowed
from components._formats.reviews import FILE, read_reviews
from components._formats.suspects_file import Named, write_suspects
from components._frame.component import Input, Output, main
from components._frame.params import Section
from components._validate_params import LimitParams, PolicyByRule, SuspectParams
from longtail.annotation.agreed_labels import agreed_labels
from longtail.annotation.review import Review, renamed, settled
from longtail.annotation.review_tally import tallies
from longtail.errors import DataError
from longtail.validation.conflicts import CONFLICTS, worst
from longtail.validation.corpus_view import CorpusView, Limits, Rows
from longtail.validation.findings import all_findings, excerpt
from longtail.validation.label_cleaning import Spelling, clean_labels
from longtail.validation.label_errors import suspects as suspected_errors
from longtail.validation.label_errors import text_features
from longtail.validation.label_history import joining
from longtail.validation.label_proposals import N_FEATURES, centered, proposals
from longtail.validation.rules import RULES, Flags, flag_documents
from longtail.validation.verdict import Verdict, judge


class Params(Section):
    """The policy of each rule, the limits, and the list of suspected label errors."""

    quarantine_share: float = Field(
        ge=0, le=1, description="share of documents set aside, at most; 0 to 1"
    )
    policy: PolicyByRule
    limits: LimitParams
    consensus: Literal["labels", "majority", "dawid_skene"] = Field(
        description="labels of documents with several judgments in data/annotations.parquet: the "
        "corpus's own, or those of a consensus"
    )
    consensus_weights: bool = Field(
        description="true or false: a label of the consensus `dawid_skene` counts the less in "
        "training, the nearer to even it is"
    )
    suspects: SuspectParams


def run(
    *,
    data: Input,
    corpus: Output,
    quarantine: Output,
    findings: Output,
    data_docs: Output,
    suspects: Output,
    choices: Output,
    label_weights: Output,
    params: Params,
) -> str:
    """Always write findings and Data Docs; write the rest only if the corpus is accepted."""
    for path in (corpus, quarantine, suspects, choices, label_weights):
        path.unlink(missing_ok=True)  # files of an earlier run must not pass for this one's
    policy = params.policy.by_code()
    try:
        frame, view = _read(data, params, policy)
        reviews = read_reviews(data / FILE)
        history = read_allowed(data / "labels.yaml").history
        chosen = past.read_choices(data / past.FILE)
    except DataError as error:
        _report_unreadable(str(error), findings, data_docs)
        raise
    agreed = agreed_labels(view, params.consensus)
    view = replace(view, labels=agreed.labels)
    flags = flag_documents(view, policy)
    verdict = judge(flags, policy, view.labels, params.quarantine_share)
    record: dict[str, Any] = {
        "outcome": _outcome(verdict.refusal),
        "counts": _counts(verdict),
        "expectations": expect(view.ids, _expectations(flags, policy), data_docs),
        **all_findings(view, flags, policy),
        **({"consensus": agreed.record} if agreed.record else {}),
        **({"reviews": tallies(reviews)} if reviews else {}),
    }
    if verdict.refusal:
        write_json(record, findings, indent=1)
        raise DataError(f"{data}: {verdict.refusal}. See {findings} and {data_docs}/index.html.")
    decided = renamed(reviews, history)
    suspected, proposed = _looked_into(view, verdict.kept, decided, params.suspects)
    write_json(record | {"proposals": proposed}, findings, indent=1)
    frame["labels"] = view.labels
    _write_frames(frame, verdict, corpus, quarantine)
    past.write_choices(chosen, choices)
    weights = agreed.weights if params.consensus_weights else ()
    write_label_weights(
        label_weights,
        [(view.ids[k], name, weight) for k, name, weight in weights if verdict.kept[k]],
    )
    write_suspects(suspected, suspects)
    counts = record["counts"]
    found = sum(rule.get("count", 0) for rule in record["rules"])
    return (
        f"{counts['in']:,} documents, {found:,} findings, {counts['quarantined']:,} set aside; "
        f"see {data_docs}/index.html{_told(record.get('reviews', {}))}"
    )


def _told(reviews: Mapping[str, Any]) -> str:
    """Rules whose suspects are right less often than before."""
    falling = [row["recent"] for row in reviews.get("rules", ()) if row["falls"]]
    return "".join(
        f"; of the last {row['reviewed']} reviewed suspects of the rule `{row['name']}`, only "
        f"{row['right']} were right, fewer than before"
        for row in falling
    )


def _read(data: Path, params: Params, policy: Mapping[str, str]) -> tuple[pd.DataFrame, CorpusView]:
    frame = read_corpus(data / "corpus.parquet", null_labels=True)
    allowed = read_allowed(data / "labels.yaml")
    spelling = Spelling(allowed.aliases, allowed.fates)
    given = frame["labels"].tolist()
    used = {label for labels in given for label in labels if label is not None}
    cleaned = clean_labels(given, policy, spelling)
    view = CorpusView(
        ids=frame["id"].tolist(),
        texts=frame["text"].tolist(),
        labels=cleaned.labels,
        limits=Limits(**params.limits.model_dump()),
        flags=cleaned.flags,
        allowed=allowed.labels,
        splits=_optional(frame, "split"),
        annotators=_optional(frame, "annotator"),
        dates=frame["annotated_at"].to_numpy() if "annotated_at" in frame else None,
        rows=_judgments(data, policy, spelling),
        split_labels=allowed.split_labels,
        joined_labels=frozenset(c.new[0] for c in joining(allowed.history, used)),
    )
    return frame, view


def _judgments(data: Path, policy: Mapping[str, str], spelling: Spelling) -> Rows | None:
    table = read_annotations(data / "annotations.parquet")
    if table is None:
        return None
    labels = clean_labels(table["labels"], policy, spelling).labels
    dates = None
    if "annotated_at" in table:
        dates = np.array(table["annotated_at"], dtype="datetime64[us]")
    return Rows(table["id"], table["annotator"], labels, dates)


def _optional(frame: pd.DataFrame, name: str) -> list[str | None] | None:
    if name not in frame:
        return None
    return [None if pd.isna(value) else str(value) for value in frame[name]]


def _outcome(refusal: str | None) -> dict[str, str | None]:
    return {"status": "refused" if refusal else "passed", "why": refusal}


def _counts(verdict: Verdict) -> dict[str, int]:
    out = int(verdict.kept.sum())
    quarantined = sum(bool(codes) for codes in verdict.reasons)
    if out + quarantined != len(verdict.kept):
        raise RuntimeError(f"{len(verdict.kept)} documents in, {out} out, {quarantined} set aside.")
    return {"in": len(verdict.kept), "out": out, "quarantined": quarantined}


def _expectations(flags: Mapping[str, Flags], policy: Mapping[str, str]) -> list[Expectation]:
    """One for each rule that is on and applies."""
    return [
        Expectation(code, RULES[code].finds, policy[code], flag)
        for code, flag in flags.items()
        if flag is not None
    ]


def _report_unreadable(why: str, findings: Path, data_docs: Path) -> None:
    """Report that the corpus breaks the data contract, as the only finding."""
    form = Expectation("form", "the file breaks the data contract", "error", np.array([True]))
    record: dict[str, Any] = {
        "outcome": _outcome(why),
        "counts": None,
        "expectations": expect(["corpus"], [form], data_docs),
        "rules": [{"code": "form", "finds": why, "policy": "error", "status": "failed"}],
    }
    write_json(record, findings, indent=1)


def _write_frames(frame: pd.DataFrame, verdict: Verdict, corpus: Path, quarantine: Path) -> None:
    write_corpus(frame[verdict.kept], corpus)
    aside = frame[~verdict.kept].copy()
    aside["reasons"] = pd.Series([codes for codes in verdict.reasons if codes], index=aside.index)
    write_corpus(aside, quarantine)


def _looked_into(
    view: CorpusView, kept: np.ndarray, reviews: Sequence[Review], params: SuspectParams
) -> tuple[list[Named], dict[str, Any] | None]:
    """Labels that are probably wrong or missing, and those that others contradict; proposals.

    What a person has decided on is not suspected. Proposals look at the same features of the texts.
    """
    if not params.top or not kept.any():
        return [], None
    rows = np.flatnonzero(kept)
    ids, texts = [view.ids[k] for k in rows], [view.texts[k] for k in rows]
    labels, targets = view.vocabulary, view.targets[rows]
    done = settled(reviews, ids, texts, targets, labels)
    features = text_features(texts, params.n_features, params.seed)
    found = suspected_errors(features, targets, params.top, done)
    for rule, contradicted in CONFLICTS.items():
        found += worst(rule, contradicted(view)[rows], params.top, done)
    named = [
        Named(s.kind, ids[s.document], labels[s.label], s.score, excerpt(texts[s.document], 300))
        for s in found
    ]
    reduced = centered(features[:, :-1][:, :N_FEATURES])
    return named, proposals(reduced, targets, labels, texts)


if __name__ == "__main__":
    main(run)
