"""Fit the baseline that a model must beat: TF-IDF and one linear SVM per label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from joblib import cpu_count  # what a container allows
from pydantic import Field

from components._formats.assignment import Part, read_parts
from components._formats.learned import learned
from components._formats.linear import write_linear
from components._formats.scores import Scores, write_scores
from components._formats.scores_params import Params as ScoresParams
from components._frame.component import Input, Output, main
from components._frame.params import Section
from components._frame.progress import progress
from longtail.evaluation.sparse_scores import ScoreMatrix
from longtail.models.linear import fit_svm


class Params(Section):
    costs: list[Annotated[float, Field(ge=1e-6, le=1e4)]] = Field(
        min_length=1, max_length=100, description="values of the SVM's C tried"
    )
    max_terms: int = Field(ge=1, le=10_000_000, description="most frequent terms kept")


def run(
    *,
    corpus: Input,
    assignment: Input,
    model: Output,
    val_scores: Output,
    test_scores: Output,
    params: Params,
    scores: ScoresParams,
) -> str:
    labels, parts = read_parts(corpus, assignment)
    docs, plan = found = learned(parts)
    with progress("SVM", "classifiers") as show:
        fitted, held_out, tried = fit_svm(
            docs.texts,
            docs.targets,
            plan,
            costs=params.costs,
            max_terms=params.max_terms,
            keep=scores.keep,
            n_jobs=cpu_count(),
            progress=show,
        )
    write_linear(model, labels, fitted)
    test = parts["test"]
    _write(val_scores, labels, found.scored, held_out)
    on_test = scores.keep.scored(lambda rows: fitted.scores(test.texts[rows]), test.targets)
    _write(test_scores, labels, test, on_test)
    best = max(tried, key=lambda row: row["mean_f1"])
    return (
        f"C = {best['C']:g} ({len(tried)} tried), {len(fitted.terms):,} terms, held-out micro/"
        f"macro F1 {100 * best['micro_f1']:.1f}/{100 * best['macro_f1']:.1f}"
    )


def _write(path: Path, labels: list[str], part: Part, scores: ScoreMatrix) -> None:
    write_scores(path, Scores(part.ids, labels, scores, part.targets))


if __name__ == "__main__":
    main(run)
