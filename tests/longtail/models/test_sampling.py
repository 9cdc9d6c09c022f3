"""What is drawn from many negatives, and the SVMs that are learned from it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from longtail.evaluation.keeping import Keep
from longtail.models.linear import BLOCK, LEAST, SEED, TFIDF, LinearModel, fit_svm
from longtail.models.sampling import sampled
from longtail.splitting.rounds import Plan


@given(st.integers(0, 2**32), st.lists(st.booleans(), min_size=1), st.integers(1, 30))
def test_what_is_kept_is_there_and_the_rest_counts_as_many_as_there_were(
    seed: int, kept: list[bool], others: int
) -> None:
    having = np.array(kept)
    found = sampled(having, others, np.random.default_rng(seed))
    if (~having).sum() <= others:
        assert found is None
        return
    assert found is not None
    positions, counts = found
    assert (np.diff(positions) > 0).all() and set(np.flatnonzero(having)) <= set(positions.tolist())
    assert len(positions) == having.sum() + others
    assert counts.dtype == np.float32 and counts.sum() == pytest.approx(len(kept), rel=1e-5)
    np.testing.assert_array_equal(counts[having[positions]], 1)


def test_a_sum_is_right_on_average() -> None:
    rng = np.random.default_rng(0)
    having, values = rng.random(300) < 0.1, rng.exponential(size=300)
    sums = []
    for _ in range(2000):
        found = sampled(having, 40, rng)
        assert found is not None
        positions, counts = found
        sums.append(counts @ values[positions])
    error = np.std(sums) / np.sqrt(len(sums))
    assert np.mean(sums) == pytest.approx(values.sum(), abs=4 * error)
    assert 0 < np.std(sums) < 0.2 * values.sum()


WORDS = [f"w{i}" for i in range(400)]
N_LABELS = BLOCK + 10  # two blocks


@pytest.fixture(scope="module")
def corpus() -> tuple[list[str], sp.csr_matrix]:
    """Each label has two words of its own; the first labels are frequent."""
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, N_LABELS + 1)
    texts, cells = [], np.zeros((1500, N_LABELS), dtype=np.int8)
    for k in range(len(cells)):
        own = rng.choice(N_LABELS, rng.integers(1, 3), p=share / share.sum())
        cells[k, own] = 1
        cues = [WORDS[2 * label + rng.integers(2)] for label in own]
        texts.append(" ".join([*cues, *rng.choice(WORDS[2 * N_LABELS :], 6)]))
    return texts, sp.csr_matrix(cells)


def on_itself(n_docs: int) -> Plan:
    return Plan(((np.arange(n_docs), np.arange(n_docs)),), refit=False)


def fitted(corpus: tuple[list[str], sp.csr_matrix], **options) -> LinearModel:
    texts, targets = corpus
    return fit_svm(texts, targets, on_itself(len(texts)), costs=[1.0], **options)[0]


def test_as_many_negatives_as_there_are_change_nothing(corpus) -> None:
    everything, enough = fitted(corpus), fitted(corpus, negatives=1500)
    np.testing.assert_array_equal(everything.coef, enough.coef)
    np.testing.assert_array_equal(everything.intercept, enough.intercept)


def test_a_sampled_label_is_what_scikit_learn_fits_to_its_weighted_documents(corpus) -> None:
    """The rarest labels, which are in the second block, next to each other in frequency."""
    texts, targets = corpus
    model = fitted(corpus, negatives=200)
    freq = np.diff(targets.tocsc().indptr)
    order = np.argsort(-freq, kind="stable")
    block = order[BLOCK : (freq > 0).sum()]
    having = targets[:, block].toarray().any(axis=1)
    found = sampled(having, 200, np.random.default_rng([SEED, 1]))
    assert found is not None
    rows, counts = found
    assert len(rows) < 500
    x = TfidfVectorizer(min_df=2, **TFIDF).fit_transform(texts)
    for label in block[:3]:
        y = targets[rows][:, [label]].toarray().ravel()
        svm = LinearSVC(C=1.0, tol=1e-6, max_iter=100_000, random_state=0)
        svm.fit(x[rows], y, sample_weight=counts)
        np.testing.assert_allclose(model.coef[:, label], svm.coef_[0], atol=2e-3)
        assert model.intercept[label] == pytest.approx(svm.intercept_[0], abs=2e-3)


def test_two_hundred_negatives_find_what_all_find(corpus) -> None:
    texts, targets = corpus
    truth = targets.toarray() > 0
    for model in (fitted(corpus), fitted(corpus, negatives=200)):
        found = model.scores(texts) > 0.5
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97


def test_threads_draw_the_same_documents(corpus) -> None:
    one, three = (fitted(corpus, negatives=100, n_jobs=n_jobs) for n_jobs in (1, 3))
    np.testing.assert_array_equal(one.coef, three.coef)


def test_doubt_and_sampling_multiply(corpus) -> None:
    """A label that counts half, among documents that stand for others."""
    texts, targets = corpus
    rare = int(np.argmin(np.where(np.diff(targets.tocsc().indptr) > 2, 0, np.inf)))
    doubt = sp.csr_matrix(targets.shape, dtype=np.float32).tolil()
    doubt[targets[:, [rare]].nonzero()[0], rare] = 0.9
    sure = fitted(corpus, negatives=200)
    unsure = fitted(corpus, negatives=200, doubt=doubt.tocsr())
    mine = targets[:, [rare]].toarray().ravel() > 0
    gone = sure.scores(texts)[mine, rare].mean() - unsure.scores(texts)[mine, rare].mean()
    assert gone > 0.02
    others = np.arange(N_LABELS) != rare
    np.testing.assert_allclose(sure.coef[:, others], unsure.coef[:, others], atol=5e-3)


def test_small_coefficients_are_dropped_where_not_all_scores_are_kept(corpus) -> None:
    texts, targets = corpus
    dense = fitted(corpus)
    sparse = fitted(corpus, keep=Keep(20, 0.0))
    assert isinstance(sparse.coef, sp.csr_matrix) and sparse.coef.dtype == np.float32
    expected = np.where(np.abs(dense.coef) < LEAST, 0, dense.coef)
    assert 0 < sparse.coef.nnz < np.count_nonzero(dense.coef)
    np.testing.assert_array_equal(sparse.coef.toarray(), expected)
    np.testing.assert_array_equal(sparse.intercept, dense.intercept)
    scores = sparse.scores(texts[:50])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, dense.scores(texts[:50]), atol=0.02)


def test_labels_that_nobody_has_stay_where_they_are(corpus) -> None:
    texts, targets = corpus
    wider = sp.csr_matrix(sp.hstack([sp.csr_matrix((1500, 2)), targets, np.ones((1500, 1))]))
    wider = wider.astype(np.int8)
    alone = fitted(corpus, keep=Keep(20, 0.0))
    model = fitted((texts, wider), keep=Keep(20, 0.0))
    np.testing.assert_array_equal(model.coef[:, 2:-1].toarray(), alone.coef.toarray())
    assert not model.coef[:, [0, 1, -1]].nnz
    scores = model.scores(texts[:3])
    assert scores[:, :2].max() < 1e-8 and scores[:, -1].min() > 0.999999


def test_no_label_at_all_can_be_learned() -> None:
    targets = sp.csr_matrix(np.array([[1, 0]] * 4, dtype=np.int8))
    model = fitted((["red blue"] * 4, targets), keep=Keep(1, 0.0))
    assert model.coef.shape == (2, 2) and not model.coef.nnz
