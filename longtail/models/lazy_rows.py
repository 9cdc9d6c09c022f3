"""Some rows of an array that may be larger than memory, read when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 4096  # rows


class LazyRows:
    """Some rows of an array, of which only those are copied that are asked for.

    Args:
        array: `(n, n_features)`, such as a memory map.
        rows: `(n_rows,)` of it.
    """

    def __init__(self, array: np.ndarray | LazyRows, rows: np.ndarray) -> None:
        self.array: np.ndarray
        self.rows: np.ndarray
        if isinstance(array, LazyRows):
            self.array, self.rows = array.array, array.rows[rows]
        else:
            self.array, self.rows = array, rows

    @property
    def shape(self) -> tuple[int, int]:
        """`(n_rows, n_features)`."""
        return len(self.rows), self.array.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.array[self.rows[rows]])


Rows: TypeAlias = Tensor | np.ndarray | LazyRows


def blocks(rows: Rows, width: int | None = None) -> Iterator[Tensor]:
    """All rows, some at a time, in float64; only the first `width` columns, if it is given."""
    for start in range(0, len(rows), AT_ONCE):
        yield torch.as_tensor(rows[start : start + AT_ONCE])[:, :width].double()


def total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape, at least one."""
    return reduce(torch.add, parts)
