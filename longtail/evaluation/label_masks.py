"""Slices of labels as masks, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from longtail.errors import ParameterError

LabelMasks: TypeAlias = Mapping[Any, npt.ArrayLike]  # any hashable key


def checked_masks(masks: LabelMasks | None, n_labels: int) -> dict[Any, npt.NDArray[np.bool_]]:
    """Slice to `(n_labels,)` bool; None gives one slice, `all`.

    Raises:
        ParameterError: a mask has another shape or type.
    """
    if masks is None:
        return {"all": np.ones(n_labels, dtype=bool)}
    checked = {name: np.asarray(mask) for name, mask in masks.items()}
    for name, mask in checked.items():
        if mask.shape != (n_labels,) or mask.dtype != bool:
            raise ParameterError(
                f"label mask {name!r} must be bool ({n_labels},), got {mask.dtype} {mask.shape}."
            )
    return checked
