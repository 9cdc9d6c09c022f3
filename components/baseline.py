"""Fit the baseline that a model must beat: TF-IDF and one linear SVM per label."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from components._formats.assignment import Part, read_parts
from components._formats.linear import write_linear
from components._formats.scores import Scores, write_scores
from components._frame.component import Input, Output, main
from components._frame.params import Section
from components._frame.progress import progress
from longtail.models.linear import LinearModel, fit_svm


class Params(Section):
    costs: list[Annotated[float, Field(ge=1e-6, le=1e4)]] = Field(
        min_length=1, max_length=100, description="values of the SVM's C tried on val"
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
) -> str:
    labels, parts = read_parts(corpus, assignment)
    train, val = parts["train"], parts["val"]
    with progress("SVM", "classifiers") as show:
        fitted, tried = fit_svm(
            train.texts,
            train.targets,
            val.texts,
            val.targets,
            costs=params.costs,
            max_terms=params.max_terms,
            n_jobs=os.cpu_count() or 1,
            progress=show,
        )
    write_linear(model, labels, fitted)
    _write(val_scores, labels, val, fitted)
    _write(test_scores, labels, parts["test"], fitted)
    best = max(tried, key=lambda row: row["mean_f1"])
    return (
        f"C = {best['C']:g} ({len(tried)} tried), {len(fitted.terms):,} terms, val micro/macro F1 "
        f"{100 * best['micro_f1']:.1f}/{100 * best['macro_f1']:.1f}"
    )


def _write(path: Path, labels: list[str], part: Part, model: LinearModel) -> None:
    write_scores(path, Scores(part.ids, labels, model.scores(part.texts), part.targets))


if __name__ == "__main__":
    main(run)
