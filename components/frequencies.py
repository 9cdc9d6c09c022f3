"""Count labels and label pairs in train; group labels into HEAD, MEDIUM and TAIL; suggest μ."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import scipy.sparse as sp
from pydantic import Field, model_validator

from components._formats.assignment import read_parts
from components._formats.json_file import write_json
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._frame.params import MOST_DOCS, Section
from longtail.errors import DataError
from longtail.frequency import (
    FREQUENCY_GROUPS,
    class_frequencies,
    cooccurrence,
    frequency_cutoffs,
    frequency_groups,
    statistics,
    suggest_mu,
)
from longtail.spreadsheet import harmless


class Params(Section):
    head: int | None = Field(
        ge=2, le=MOST_DOCS, description="HEAD: train documents, at least; null: by share"
    )
    tail: int | None = Field(
        ge=1, le=MOST_DOCS, description="TAIL: train documents, at most; null: by share"
    )
    tail_share: float = Field(
        gt=0, lt=1, description="share of labels in TAIL if no cutoff is given, 0 to 1"
    )
    head_share: float = Field(
        gt=0, lt=1, description="share of labels in HEAD if no cutoff is given, 0 to 1"
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Params:
        if (self.head is None) != (self.tail is None):
            raise ValueError("set both head and tail, or neither (null)")
        if self.head is not None and self.tail is not None and self.tail >= self.head:
            raise ValueError(f"tail must be below head, got {self.tail} and {self.head}")
        if self.tail_share >= 1 - self.head_share:  # as `frequency_cutoffs` compares them
            total = self.tail_share + self.head_share
            raise ValueError(f"tail_share + head_share must be below 1, got {total:g}")
        return self


def run(
    *,
    corpus: Input,
    assignment: Input,
    frequencies: Output,
    cooccurrences: Output,
    label_counts: Output,
    params: Params,
) -> str:
    labels, parts = read_parts(corpus, assignment)
    train = parts["train"].targets
    if not train.nnz:
        raise DataError(
            f"{assignment}: none of the {train.shape[0]:,} documents of train has a label, so "
            "there is nothing to learn. Label some, or set the column `split` to null, so that "
            "documents with labels can come into train."
        )
    class_freq = class_frequencies(train)
    head, tail = params.head, params.tail
    if head is None or tail is None:
        head, tail = frequency_cutoffs(class_freq, (params.tail_share, 1 - params.head_share))
    groups = frequency_groups(class_freq, head=head, tail=tail).tolist()
    counts = {name: class_frequencies(part.targets).tolist() for name, part in parts.items()}
    result: dict[str, Any] = {
        "train_num": train.shape[0],
        "labels": labels,
        "class_freq": counts["train"],
        "val_freq": counts["val"],
        "test_freq": counts["test"],
        "groups": groups,
        "head": head,
        "tail": tail,
        "mu": round(suggest_mu(train, class_freq), 4),
        "statistics": {name: statistics(part.targets) for name, part in parts.items()},
    }
    write_json(result, frequencies)
    with written(cooccurrences) as path:
        sp.save_npz(path, cooccurrence(train))
    _write_plot(label_counts, sorted(zip(class_freq.tolist(), labels, groups, strict=True))[::-1])
    sizes = {group: groups.count(group) for group in FREQUENCY_GROUPS}
    return (
        f"{len(labels):,} labels: {sizes['HEAD']:,} HEAD ({head} train documents or more), "
        f"{sizes['MEDIUM']:,} MEDIUM, {sizes['TAIL']:,} TAIL ({tail} or fewer); μ {result['mu']:g}"
    )


def _write_plot(path: Path, rows: list[tuple[int, str, str]]) -> None:
    """Write the labels from frequent to rare, for `dvc plots show`.

    Spreadsheets run formulas, and DVC puts the cells into the script of a page as they are: there a
    label could end the script. So `<` is replaced by a look-alike; `frequencies.json` is exact.
    """
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["rank", "documents", "label", "group"])
        for rank, (documents, label, group) in enumerate(rows, 1):
            writer.writerow([rank, documents, harmless(label.replace("<", "‹")), group])


if __name__ == "__main__":
    main(run)
