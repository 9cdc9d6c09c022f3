"""Rows that are read when they are asked for."""

from __future__ import annotations

import numpy as np
import torch

from longtail.models import lazy_rows
from longtail.models.classifier import Head
from longtail.models.lazy_rows import LazyRows, blocks, total

ARRAY = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


def test_rows_of_rows_are_those_of_the_array() -> None:
    outer = LazyRows(ARRAY, np.array([5, 3, 40, 7]))
    inner = LazyRows(outer, np.array([2, 0, 2]))
    assert inner.shape == (3, 8) and len(outer) == 4 and inner.array is ARRAY
    np.testing.assert_array_equal(inner[:], ARRAY[[40, 5, 40]])
    np.testing.assert_array_equal(outer[np.array([1, 1])], ARRAY[[3, 3]])
    np.testing.assert_array_equal(outer[1:3], ARRAY[[3, 40]])


def test_blocks_are_all_rows_in_float64(monkeypatch) -> None:
    monkeypatch.setattr(lazy_rows, "AT_ONCE", 7)
    half = ARRAY.astype(np.float16)
    for rows in (half, LazyRows(half, np.arange(50)), torch.tensor(half)):
        parts = list(blocks(rows))
        assert [len(part) for part in parts] == [7] * 7 + [1]
        assert all(part.dtype == torch.float64 for part in parts)
        np.testing.assert_array_equal(torch.cat(parts).numpy(), half.astype(np.float64))
        np.testing.assert_allclose(total(part.sum(0) for part in parts), half.sum(0, float))


def test_a_head_starts_the_same_from_any_blocks(monkeypatch) -> None:
    """Mean, spread and the labels' names, as NumPy has them of all rows at once."""
    names = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    for at_once in (4096, 7):
        monkeypatch.setattr(lazy_rows, "AT_ONCE", at_once)
        head = Head(8, 3, hidden=0, dropout=0.0, label_names=True)
        rows = LazyRows(ARRAY, np.arange(49, 9, -1))
        head.standardize_by(rows)
        head.name_labels(names, rows)
        used = ARRAY[10:].astype(np.float64)
        np.testing.assert_allclose(head.mean, used.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(head.std, used.std(axis=0), atol=1e-6)
        texts = used[:, :2] / np.linalg.norm(used[:, :2], axis=1, keepdims=True)
        prototypes = names[:, :2] / names[:, :2].norm(dim=1, keepdim=True)
        cosines = texts @ prototypes.numpy().T.astype(np.float64)
        for similarity in head.similarities:
            np.testing.assert_allclose(similarity.mean, cosines.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(similarity.std, cosines.std(axis=0), atol=1e-5)
