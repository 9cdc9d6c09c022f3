"""The linear baseline against scikit-learn's own pieces."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from longtail.errors import DataError
from longtail.label_matrix import encode
from longtail.models.linear import BLOCK, NEVER, TERM, TFIDF, fit_svm
from longtail.splitting.rounds import Plan, make_plan
from tests.builders.small_project import LABELS, small_corpus

CORPUS = small_corpus(120)
TEXTS = CORPUS["text"].tolist()
TARGETS = encode(CORPUS["labels"].tolist(), [*LABELS, "unseen"])
TRAIN, VAL = slice(0, 80), slice(80, 120)
TRAIN_SCORES_VAL = make_plan(np.full(120, -1), np.arange(120) >= 80)


def on_itself(n_docs: int) -> Plan:
    """Everything learns and everything is scored, for what does not depend on it."""
    return Plan(((np.arange(n_docs), np.arange(n_docs)),), refit=False)


@pytest.fixture(scope="module")
def fitted():
    model, _, rows = fit_svm(TEXTS, TARGETS, TRAIN_SCORES_VAL, costs=(0.001, 1.0, 0.01))
    return model, rows


def test_progress_counts_the_labels_of_every_cost_and_changes_nothing(fitted):
    calls: list[tuple[int, int]] = []
    watched, _, rows = fit_svm(
        TEXTS,
        TARGETS,
        TRAIN_SCORES_VAL,
        costs=(0.001, 1.0, 0.01),
        progress=lambda done, total: calls.append((done, total)),
    )
    total = 3 * TARGETS.shape[1]
    assert calls == [(done, total) for done in range(1, total + 1)]
    model, expected = fitted
    assert rows == expected and np.array_equal(watched.coef, model.coef)


def test_rebuilt_vectorizer_and_margins_equal_sklearns(fitted):
    model, rows = fitted
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True)
    x = vectorizer.fit_transform(TEXTS[TRAIN])
    assert model.terms == vectorizer.get_feature_names_out().tolist()
    there = vectorizer.transform(TEXTS[VAL])
    np.testing.assert_allclose(
        model.vectorizer.transform(TEXTS[VAL]).toarray(), there.toarray(), atol=1e-6
    )
    best = max(rows, key=lambda row: row["mean_f1"])["C"]
    margins = logit(model.scores(TEXTS[VAL]).astype(np.float64))
    for label in (0, 3, 5):
        y = TARGETS[TRAIN][:, [label]].toarray().ravel()
        svm = LinearSVC(C=best, random_state=0).fit(x, y)
        np.testing.assert_allclose(margins[:, label], svm.decision_function(there), atol=1e-3)


def test_the_best_cost_on_val_is_kept(fitted):
    model, rows = fitted
    assert [row["C"] for row in rows] == [0.001, 1.0, 0.01]
    best = max(rows, key=lambda row: row["mean_f1"])
    assert best["C"] == 1.0 and best["mean_f1"] > rows[2]["mean_f1"]
    alone, scores, _ = fit_svm(TEXTS, TARGETS, TRAIN_SCORES_VAL, costs=[1.0])
    np.testing.assert_array_equal(scores, model.scores(TEXTS[VAL]))
    assert np.array_equal(model.coef, alone.coef)


def test_a_label_unseen_in_train_is_never_predicted(fitted):
    model, _ = fitted
    assert model.intercept[-1] == NEVER and not model.coef[:, -1].any()
    assert model.scores(TEXTS)[:, -1].max() < 1e-8


def test_a_label_of_every_document_is_always_predicted():
    targets = sp.csr_matrix(np.array([[1, 0], [1, 1]] * 4, dtype=np.int8))
    texts = ["red green", "red blue"] * 4
    model, _, _ = fit_svm(texts, targets, on_itself(8), costs=[1.0])
    assert model.scores(["", "red"])[:, 0].min() > 0.999999


def test_texts_without_a_shared_word_are_rejected():
    targets = encode([["a"], ["a"]], ["a"])
    with pytest.raises(DataError, match="No word occurs in two of the 2 texts learned from"):
        fit_svm(["one", "two"], targets, on_itself(2))


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 2001)
    words = [f"w{i}" for i in range(2000)]
    texts = [" ".join(rng.choice(words, 20, p=share / share.sum())) for _ in range(600)]
    targets = sp.csr_matrix((rng.random((600, 2 * BLOCK + 5)) < 0.05).astype(np.int8))
    models = [
        fit_svm(texts, targets, on_itself(600), costs=[4.0], n_jobs=n_jobs)[0] for n_jobs in (1, 3)
    ]
    np.testing.assert_array_equal(models[0].coef, models[1].coef)
    np.testing.assert_array_equal(models[0].intercept, models[1].intercept)


def test_each_fold_is_scored_by_the_others_and_everything_is_learned_at_last() -> None:
    folds = np.arange(120) % 3
    calls: list[tuple[int, int]] = []
    model, scores, rows = fit_svm(
        TEXTS,
        TARGETS,
        make_plan(folds, np.zeros(120, bool)),
        costs=(0.01, 1.0),
        progress=lambda done, total: calls.append((done, total)),
    )
    best = max(rows, key=lambda row: row["mean_f1"])["C"]
    for fold in range(3):
        mine = np.flatnonzero(folds == fold)
        others = make_plan(np.full(120, -1), folds == fold)
        alone, expected, _ = fit_svm(TEXTS, TARGETS, others, costs=[best])
        np.testing.assert_array_equal(scores[mine], expected)
    everything, _, _ = fit_svm(TEXTS, TARGETS, on_itself(120), costs=[best])
    np.testing.assert_array_equal(model.coef, everything.coef)
    n_fits = 2 + 2 + 1  # both costs on the first fold, the other folds, the refit
    assert calls[-1] == (n_fits * TARGETS.shape[1],) * 2


def test_a_word_that_only_one_document_has_tells_its_fold_nothing() -> None:
    """Its label is one that nobody else has: whoever knew it has learned from the document."""
    texts, planted = [*TEXTS, "zebra " * 30], 120
    targets = sp.csr_matrix(sp.block_diag([TARGETS[:, :-1], [[1]]]), dtype=np.int8)
    folds = np.arange(121) % 4
    _, scores, _ = fit_svm(texts, targets, make_plan(folds, np.zeros(121, bool)), costs=[1.0])
    assert scores[planted, -1] < 1e-8
    others = np.flatnonzero(folds != folds[planted])
    assert scores[others, -1].max() > 1e-8, "the others' models have learned from it"


def test_sentences_without_spaces_share_terms() -> None:
    """A Chinese sentence was one word, so two documents shared none."""
    texts = ["编辑文件。", "编辑图片", "播放音乐", "音乐文件", "a GPU 搭載 x"]
    vectorizer = TfidfVectorizer(min_df=2, **TFIDF).fit(texts)
    assert sorted(vectorizer.get_feature_names_out()) == sorted("编辑文件音乐")


@given(st.text(alphabet="ab1_ é,.-\n'Ü\u0301"))
def test_terms_of_other_scripts_are_those_of_scikit_learn(text: str) -> None:
    usual = TfidfVectorizer().build_analyzer()
    assert TfidfVectorizer(token_pattern=TERM).build_analyzer()(text) == usual(text)
