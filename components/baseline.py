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
from longtail.models import linear as baseline


class Params(Section):
    costs: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        [0.25, 0.5, 1.0, 2.0, 4.0], min_length=1, description="values of C tried on val, each > 0"
    )
    max_terms: int = Field(100_000, ge=1, description="most frequent terms kept")


def run(
    *,
    corpus: Input,
    assignment: Input,
    model: Output,
    val_scores: Output,
    test_scores: Output,
    params: Params,
) -> None:
    labels, parts = read_parts(corpus, assignment)
    train, val = parts["train"], parts["val"]
    fitted, tried = baseline.fit_svm(
        train.texts,
        train.targets,
        val.texts,
        val.targets,
        costs=params.costs,
        max_terms=params.max_terms,
        n_threads=os.cpu_count() or 1,
    )
    for row in tried:
        print("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
    write_linear(model, labels, fitted)
    _write(val_scores, labels, val, fitted)
    _write(test_scores, labels, parts["test"], fitted)


def _write(path: Path, labels: list[str], part: Part, model: baseline.LinearModel) -> None:
    write_scores(path, Scores(part.ids, labels, model.scores(part.texts), part.targets))


if __name__ == "__main__":
    main(run)
