"""Fit the baseline that a model must beat: TF-IDF and one linear SVM per label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from joblib import cpu_count  # what a container allows
from pydantic import Field

from components._formats.assignment import Part, read_parts
from components._formats.choices import (
    Basis,
    ChoiceRecord,
    KeepChoice,
    read_choices,
    write_choice,
)
from components._formats.corpus import read_corpus
from components._formats.curve_file import CurvePoint, write_curve
from components._formats.learned import Learned, learned, rows_of, weighted
from components._formats.linear import write_linear
from components._formats.scores import Scores, write_scores
from components._formats.scores_params import Params as ScoresParams
from components._frame.component import Input, Output, main
from components._frame.params import MOST_DOCS, Section
from components._frame.progress import progress
from components._frame.scratch import share_compiled
from longtail import thresholds
from longtail.errors import DataError
from longtail.evaluation.keeping import Keep
from longtail.evaluation.metrics import apply_thresholds
from longtail.evaluation.sparse_scores import ScoreMatrix, taken
from longtail.models.linear import fit_svm
from longtail.splitting.nested import nested
from longtail.splitting.rounds import Plan

SEED = 0  # of the order of documents without dates


class Params(Section):
    costs: list[Annotated[float, Field(ge=1e-6, le=1e4)]] = Field(
        min_length=1, max_length=100, description="values of the SVM's C tried"
    )
    keep_choice: KeepChoice
    max_terms: int = Field(ge=1, le=10_000_000, description="most frequent terms kept")
    negatives: int = Field(
        ge=1,
        le=MOST_DOCS,
        description="documents without any of 64 labels that these learn from, at most",
    )
    learning_curve: bool = Field(
        description="true or false: also fit on fewer documents, for the page of annotation"
    )


def run(
    *,
    corpus: Input,
    assignment: Input,
    label_weights: Input,
    last_choices: Input,
    model: Output,
    val_scores: Output,
    test_scores: Output,
    choice: Output,
    curve: Output,
    params: Params,
    scores: ScoresParams,
) -> str:
    share_compiled()
    labels, parts = read_parts(corpus, assignment)
    docs, plan = found = learned(weighted(parts, labels, label_weights))
    for part in (docs, parts["test"]):
        scores.keep.check(part.targets)
    last = read_choices(last_choices)
    settings = params.model_dump(mode="json", exclude={"keep_choice", "learning_curve"})
    settings |= {"scores": scores.model_dump(mode="json")} | found.basis
    basis = Basis(docs=len(docs.ids), labels=labels, settings=settings)
    kept = last.kept("baseline", basis, params.costs, params.keep_choice)
    lead = last.lead("baseline", basis, params.keep_choice)

    def value(row: dict[str, float]) -> tuple[float, bool]:
        return lead.rank(row["C"], row["mean_f1"])

    with progress("SVM", "classifiers") as show:
        fitted, held_out, tried = fit_svm(
            docs.texts,
            docs.targets,
            plan,
            costs=[float(kept.chosen)] if kept else params.costs,
            max_terms=params.max_terms,
            negatives=params.negatives,
            value=value,
            keep=scores.keep,
            n_jobs=cpu_count(),
            progress=show,
            doubt=docs.doubt,
        )
    write_linear(model, labels, fitted)
    test = parts["test"]
    _write(val_scores, labels, found.scored, held_out)
    on_test = scores.keep.scored(lambda rows: fitted.scores(test.texts[rows]), test.targets)
    _write(test_scores, labels, test, on_test)
    best = max(tried, key=value)
    scores_of = {f"{row['C']:g}": row["mean_f1"] for row in tried}
    anew = ChoiceRecord(chosen=best["C"], since=last.night, scores=scores_of, basis=basis)
    write_choice(kept or anew, choice)
    how = f"kept since {kept.since}" if kept else f"{len(tried)} tried"
    how += lead.said(best["C"], {row["C"]: row["mean_f1"] for row in tried})
    points = _points(found, corpus, held_out, best["C"], params, scores.keep)
    write_curve(curve, rows_of(docs, plan.rounds[0][1]).ids, labels, points)
    return (
        f"C = {best['C']:g} ({how}), {len(fitted.terms):,} terms, held-out micro/"
        f"macro F1 {100 * best['micro_f1']:.1f}/{100 * best['macro_f1']:.1f}"
    )


def _dates(corpus: Path, docs: Part) -> np.ndarray:
    """When each document was annotated, `(n_docs,)` datetime64; NaT where that is not known."""
    frame = read_corpus(corpus).set_index("id")
    if "annotated_at" not in frame:
        return np.full(len(docs.ids), np.datetime64("NaT", "us"))
    return frame["annotated_at"].loc[docs.ids].to_numpy(dtype="datetime64[us]")


def _points(
    found: Learned, corpus: Path, scores: ScoreMatrix, cost: float, params: Params, keep: Keep
) -> list[CurvePoint]:
    """The learning curve, if wanted: the first round with fewer documents, then as it was."""
    if not params.learning_curve:
        return []
    docs, plan = found
    dates = _dates(corpus, docs)
    rows, scored = plan.rounds[0]
    subsets = [rows[subset] for subset in nested(dates[rows], SEED)]
    points = []
    with progress("learning curve", "points") as show:
        for k, subset in enumerate(subsets, 1):
            plan_of_subset = Plan(((subset, scored),), refit=False)
            try:
                _, own, _ = fit_svm(
                    docs.texts, docs.targets, plan_of_subset, costs=[cost],
                    max_terms=params.max_terms, negatives=params.negatives, keep=keep,
                    n_jobs=cpu_count(), doubt=docs.doubt,
                )  # fmt: skip
            except DataError:  # so few documents that no two share a word
                continue
            points.append((subset, own))
            show(k, len(subsets))
    points.append((rows, taken(scores, np.searchsorted(plan.scored, scored))))
    truth = docs.targets[scored]
    return [
        CurvePoint(
            len(subset), _newest(dates[subset]), apply_thresholds(own, thresholds.tune(own, truth))
        )
        for subset, own in points
    ]


def _newest(dates: np.ndarray) -> np.datetime64:
    return max(dates[~np.isnat(dates)], default=np.datetime64("NaT", "us"))


def _write(path: Path, labels: list[str], part: Part, scores: ScoreMatrix) -> None:
    write_scores(path, Scores(part.ids, labels, scores, part.targets))


if __name__ == "__main__":
    main(run)
