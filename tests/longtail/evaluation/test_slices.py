"""Slices add up to the totals, hold the right rows, and carry the right figures."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import DataError, ParameterError
from longtail.evaluation import metrics
from longtail.evaluation.slices import ROW_METRICS, SLICES, Evaluation, Slice, slice_table
from longtail.evaluation.value_masks import MAX_VALUES, value_masks
from longtail.frequency import frequency_cutoffs, frequency_groups


def evaluation(seed=0, n_docs=200, n_labels=20):
    rng = np.random.default_rng(seed)
    targets = rng.random((n_docs, n_labels)) < np.geomspace(0.5, 0.01, n_labels)
    predicted = np.where(rng.random(targets.shape) < 0.9, targets, ~targets)
    predicted[:, -2:] = False
    freq = np.geomspace(200, 1, n_labels).astype(int)
    metadata = {
        "source": rng.choice(np.array(["a", "b", None], dtype=object), n_docs),
        "length": rng.integers(1, 1000, n_docs),
        "at": np.datetime64("2020-03-01") + rng.integers(0, 800, n_docs),
    }
    return predicted, targets, freq, rng.random(targets.shape), metadata


@pytest.fixture(scope="module")
def table():
    predicted, targets, freq, scores, metadata = evaluation()
    return slice_table(predicted, targets, freq, scores=scores, metadata=metadata, n_draws=50)


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(0, 50), st.integers(1, 50))
def test_every_label_is_in_one_frequency_group(freq, tail, width):
    groups = frequency_groups(freq, head=tail + width, tail=tail)
    for label, count in enumerate(freq):
        expected = "HEAD" if count >= tail + width else "TAIL" if count <= tail else "MEDIUM"
        assert groups[label] == expected


def test_default_cutoffs_are_those_of_reuters():
    assert list(frequency_groups([36, 35, 34, 9, 8, 0])) == [
        *["HEAD"] * 2,
        *["MEDIUM"] * 2,
        *["TAIL"] * 2,
    ]
    with pytest.raises(ParameterError, match="head must be greater than tail"):
        frequency_groups([1], head=8, tail=8)


def test_quantile_cutoffs():
    freq = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert frequency_cutoffs(freq) == (6, 3)
    head, tail = frequency_cutoffs(freq, quantiles=(0.5, 0.8))
    groups = frequency_groups(freq, head=head, tail=tail)
    assert [(groups == name).sum() for name in ("TAIL", "MEDIUM", "HEAD")] == [5, 2, 2]
    assert frequency_cutoffs([4, 4, 4]) == (5, 4)
    with pytest.raises(ParameterError, match="lower < upper"):
        frequency_cutoffs(freq, quantiles=(0.8, 0.2))
    with pytest.raises(DataError, match="empty"):
        frequency_cutoffs([])


@pytest.mark.parametrize("kind", SLICES)
def test_slices_of_a_kind_are_a_partition_or_an_overlay(kind):
    predicted, targets, freq, _, metadata = evaluation()
    found = SLICES[kind](
        Evaluation(sp.csr_matrix(predicted), sp.csr_matrix(targets), freq, metadata=metadata)
    )
    assert found
    by_kind = {}
    for part in found:
        assert part.mask.dtype == bool
        assert len(part.mask) == (20 if part.of == "labels" else 200)
        by_kind.setdefault(part.kind, []).append(part)
    for parts in by_kind.values():
        if not parts[0].overlay:
            assert (sum(part.mask.astype(int) for part in parts) == 1).all()
    assert (kind == "zero") == any(part.overlay for part in found)


def test_counts_add_up_to_the_totals(table):
    total = table[0]
    assert (total["kind"], total["name"]) == ("all", "all")
    assert (total["n_labels"], total["n_docs"]) == (20, 200)
    kinds = {row["kind"] for row in table if not row["overlay"]} - {"all"}
    assert kinds == {
        "frequency",
        "labels_per_document",
        "metadata:source",
        "metadata:length",
        "metadata:at",
    }
    for kind in kinds:
        rows = [row for row in table if row["kind"] == kind]
        assert sum(row["support"] for row in rows) == total["support"]
        of = rows[0]["of"]
        counted = "n_labels" if of == "labels" else "n_docs"
        assert sum(row[counted] for row in rows) == total[counted]
        if of == "labels":
            found = sum(row["labels_with_f1"] for row in rows)
            assert found == pytest.approx(total["labels_with_f1"])


def test_label_slices_equal_scikit_learn(table):
    predicted, targets, freq, _, _ = evaluation()
    groups = frequency_groups(freq)
    for row in table:
        if row["kind"] == "frequency":
            p, t = predicted[:, groups == row["name"]], targets[:, groups == row["name"]]
            for average in ("micro", "macro"):
                expected = sk.f1_score(t, p, average=average, zero_division=0)
                assert row[f"{average}_f1"] == pytest.approx(expected)
                low, high = row["intervals"][f"{average}_f1"]
                assert low <= row[f"{average}_f1"] <= high and low < high
            assert row["hamming_loss"] == pytest.approx(sk.hamming_loss(t, p))
            assert row["support"] == t.sum() and row["greyed"] == (t.sum() < 30)
            assert row["precision_at_1"] is None


def test_label_slices_of_two_kinds_may_share_a_name(monkeypatch):
    predicted, targets, freq, _, _ = evaluation()
    odd = np.arange(20) % 2 == 1
    alone = {row["name"]: row for row in slice_table(predicted, targets, freq, n_draws=20)}
    monkeypatch.setitem(SLICES, "parity", lambda _: [Slice("parity", "HEAD", "labels", odd)])
    rows = {
        (row["kind"], row["name"]): row
        for row in slice_table(predicted, targets, freq, n_draws=20)
        if row["name"] == "HEAD"
    }
    assert rows["frequency", "HEAD"] == alone["HEAD"]
    expected = sk.f1_score(targets[:, odd], predicted[:, odd], average="macro", zero_division=0)
    assert rows["parity", "HEAD"]["macro_f1"] == pytest.approx(expected)
    assert expected != pytest.approx(rows["frequency", "HEAD"]["macro_f1"])


def test_document_slices_equal_scikit_learn(table):
    predicted, targets, _, scores, metadata = evaluation()
    names = np.array(["missing" if v is None else v for v in metadata["source"]])
    checked = 0
    for row in table:
        if row["kind"] == "metadata:source":
            rows = names == row["name"]
            p, t = predicted[rows], targets[rows]
            occurring = t.any(axis=0)
            assert row["n_docs"] == rows.sum() and row["n_labels"] == occurring.sum()
            assert row["micro_f1"] == pytest.approx(sk.f1_score(t, p, average="micro"))
            assert row["macro_f1"] == pytest.approx(
                sk.f1_score(t[:, occurring], p[:, occurring], average="macro", zero_division=0)
            )
            best = scores[rows].argmax(axis=1)
            assert row["precision_at_1"] == pytest.approx(t[np.arange(len(t)), best].mean())
            expected = metrics.METRICS["precision_at_5"](scores[rows], t)
            assert row["precision_at_5"] == pytest.approx(expected)
            checked += 1
    assert checked == 3


def test_zero_is_every_label_without_a_true_positive(table):
    predicted, targets, *_ = evaluation()
    mask = ~(predicted & targets).any(axis=0)
    (row,) = [row for row in table if row["kind"] == "zero"]
    assert mask.sum() >= 2
    assert (row["n_labels"], row["support"]) == (mask.sum(), targets[:, mask].sum())
    assert row["overlay"] and row["micro_f1"] == 0.0


def test_rows_are_json_and_need_no_scores():
    predicted, targets, freq, _, _ = evaluation()
    rows = slice_table(predicted, sp.csr_matrix(targets), freq, n_draws=5)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert all(row["precision_at_5"] is None for row in rows)
    assert all(set(row["intervals"]) == set(ROW_METRICS) for row in rows)
    per_doc = [row["name"] for row in rows if row["kind"] == "labels_per_document"]
    assert per_doc == ["0", "1", "2", "3", "4+"]


def test_slices_under_thirty_positives_are_greyed():
    targets = np.zeros((60, 2), bool)
    targets[:30, 0], targets[:29, 1] = True, True
    rows = slice_table(targets, targets, [40, 1], n_draws=5)
    greyed = {row["name"]: row["greyed"] for row in rows if row["kind"] == "frequency"}
    assert greyed == {"HEAD": False, "MEDIUM": True, "TAIL": True}


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.lists(st.one_of(st.none(), st.sampled_from("abcdefghijklmnopqrstuvwx")), min_size=1),
        st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=1),
        st.lists(st.integers(0, 5), min_size=1),
        st.lists(st.booleans(), min_size=1),
    )
)
def test_value_masks_are_a_partition(values):
    masks = value_masks(values)
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
    assert len(masks) <= MAX_VALUES + 1


def test_numbers_fall_into_quarters_in_order():
    masks = value_masks(np.arange(100))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "0 to 24": 25,
        "25 to 49": 25,
        "50 to 74": 25,
        "75 to 99": 25,
    }
    assert list(value_masks([2, 1, 2, None])) == ["1.0", "2.0", "missing"]


def test_dates_fall_into_years_or_months():
    years = value_masks(pd.to_datetime(["2021-05-01", None, "2020-01-01", "2021-07-01"]))
    assert {name: list(np.flatnonzero(mask)) for name, mask in years.items()} == {
        "2020": [2],
        "2021": [0, 3],
        "missing": [1],
    }
    months = value_masks(pd.to_datetime(["2021-05-01", "2021-07-01"], utc=True))
    assert list(months) == ["2021-05", "2021-07"]


def test_the_rarest_of_many_values_are_gathered():
    values = [f"v{i:02}" for i in range(30) for _ in range(1 + (i < 11))]
    masks = value_masks(values)
    assert list(masks) == [*(f"v{i:02}" for i in range(11)), "other"]
    assert masks["v03"].sum() == 2 and masks["other"].sum() == 19


def test_broken_input_is_rejected():
    predicted, targets, freq, _, _ = evaluation()
    with pytest.raises(DataError, match=r"class_freq has shape \(19,\), expected \(20,\)"):
        slice_table(predicted, targets, freq[1:])
    with pytest.raises(DataError, match="metadata:x has 3 values, expected 200"):
        slice_table(predicted, targets, freq, metadata={"x": [1, 2, 3]})


def test_copies_count_once_in_every_interval():
    """Three copies of each document: rows and intervals are those of one, if groups are known."""
    predicted, targets, freq, _, metadata = evaluation()
    column = {"source": metadata["source"]}
    once = slice_table(predicted, targets, freq, metadata=column, n_draws=50)
    n_docs = len(targets)
    rows = np.repeat(np.arange(n_docs), 3)
    many = slice_table(
        predicted[rows],
        targets[rows],
        freq,
        metadata={"source": metadata["source"][rows]},
        groups=rows.astype(str).tolist(),
        n_draws=50,
    )
    same = {(row["kind"], row["name"]): row for row in many}
    for one in once:
        if one["kind"] not in ("all", "frequency", "metadata:source"):
            continue  # other slices may cut by what copying changes
        three = same[one["kind"], one["name"]]
        assert three["n_docs"] == 3 * one["n_docs"]
        for metric in ("micro_f1", "hamming_loss"):
            assert three["intervals"][metric] == pytest.approx(one["intervals"][metric])
