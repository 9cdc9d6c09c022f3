"""Cuts a column of metadata into named masks of documents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

MAX_VALUES = 12
OTHER, MISSING = "other", "missing"
Mask = npt.NDArray[np.bool_]


def value_masks(values: npt.ArrayLike) -> dict[str, Mask]:
    """Partition the documents by the values of one column.

    Numbers with more than `MAX_VALUES` distinct values are cut into quarters of about equal size
    (`3 to 17`), dates into years, or into months if there is only one year. Any other value has a
    mask of its own, except that the rarest beyond `MAX_VALUES` are grouped as `other`. Nulls are
    `missing`.

    Args:
        values: `(n_docs,)`.

    Returns:
        Name to `(n_docs,)` bool.

    >>> masks = value_masks(["web", None, "web", "mail"])
    >>> {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}
    {'mail': [3], 'web': [0, 2], 'missing': [1]}
    """
    column = pd.Series(values)
    known = column.dropna()
    if pd.api.types.is_datetime64_any_dtype(known):
        dates = pd.DatetimeIndex(known)
        form = "%Y" if dates.year.nunique() > 1 else "%Y-%m"
        names = pd.Series(dates.strftime(form), index=known.index)
        order = sorted(names.unique())
    elif _is_number(known) and known.nunique() > MAX_VALUES:
        names, order = _quarters(known)
    else:
        names = known.astype(str)
        order = list(names.value_counts().sort_index(kind="stable").index)
        if len(order) > MAX_VALUES:
            common = set(names.value_counts().index[: MAX_VALUES - 1])
            names = names.where(names.isin(common), OTHER)
            order = [*sorted(common), OTHER]
    names = names.reindex(column.index).fillna(MISSING)
    ends = [MISSING] if len(known) < len(column) and MISSING not in order else []
    return {str(name): (names == name).to_numpy() for name in [*order, *ends]}


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _quarters(known: pd.Series) -> tuple[pd.Series, list[str]]:
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="inverted_cdf"))
    codes = np.searchsorted(edges, known)
    spans = known.groupby(codes).agg(["min", "max"])
    title = {code: f"{row['min']:g} to {row['max']:g}" for code, row in spans.iterrows()}
    return pd.Series([title[code] for code in codes], index=known.index), list(title.values())
