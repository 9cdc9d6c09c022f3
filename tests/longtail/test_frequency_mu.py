"""The rule for μ: by hand, and near the paper's value on its corpus."""

from __future__ import annotations

import re
import tarfile
from collections import Counter

import numpy as np
import pytest
from scipy import sparse

from longtail.errors import DataError
from longtail.losses import suggest_mu
from tests.builders.paths import REUTERS


def test_by_hand() -> None:
    """Labels seen 2, 1, 1 times: r = 1 for document 0, and 0.2, 0.4, 0.4 for document 1."""
    targets = sparse.csr_matrix([[1, 0, 0], [1, 1, 1], [0, 0, 0]])
    assert suggest_mu(targets, np.array([2, 1, 1])) == pytest.approx((0.5 + 0.4) / 2)


def test_stored_zeros_and_duplicates_are_not_positives() -> None:
    indptr, indices, data = [0, 3, 6], [0, 0, 2, 0, 1, 2], [1, 1, 0, 1, 1, 1]
    targets = sparse.csr_matrix((data, indices, indptr), shape=(2, 3))
    assert suggest_mu(targets, np.array([2, 1, 1])) == pytest.approx(0.45)
    assert targets.nnz == 6  # the input is left as it was


def test_wrong_input_is_rejected() -> None:
    targets = sparse.csr_matrix([[1, 0], [1, 1]])
    with pytest.raises(DataError, match=r"class_freq\[1\] is 0"):
        suggest_mu(targets, np.array([2, 0]))
    with pytest.raises(DataError, match=r"class_freq\[0\] is nan"):
        suggest_mu(targets, np.array([np.nan, 1]))
    with pytest.raises(DataError, match=r"shape \(2,\), got \(3,\)"):
        suggest_mu(targets, np.array([2, 1, 1]))
    with pytest.raises(DataError, match="no positive pair"):
        suggest_mu(sparse.csr_matrix((3, 2)), np.array([2, 1]))


def modapte_topics() -> dict[str, list[list[str]]]:
    """Topics of each document of the ModApte parts, counted without the project's own reader."""
    parts: dict[str, list[list[str]]] = {"TRAIN": [], "TEST": []}
    with tarfile.open(REUTERS) as archive:
        members = sorted((m for m in archive if m.name.endswith(".sgm")), key=lambda m: m.name)
        for member in members:
            text = archive.extractfile(member).read().decode("latin-1")
            for head, body in re.findall(r"<REUTERS (.*?)>(.*?)</REUTERS>", text, re.DOTALL):
                part = re.search(r'LEWISSPLIT="([\w-]+)"', head).group(1)
                topics = re.search(r"<TOPICS>(.*?)</TOPICS>", body, re.DOTALL).group(1)
                if 'TOPICS="YES"' in head and part in parts:
                    parts[part].append(re.findall(r"<D>(.*?)</D>", topics))
    return parts


@pytest.mark.slow
@pytest.mark.skipif(not REUTERS.exists(), reason="no reuters21578.tar.gz in ../shared/data")
def test_near_the_papers_value_on_reuters() -> None:
    """The paper sets μ = 0.9 for 6,770 training documents of 90 labels."""
    parts = modapte_topics()
    labels = sorted(
        {t for doc in parts["TRAIN"] for t in doc} & {t for doc in parts["TEST"] for t in doc}
    )
    column = {label: i for i, label in enumerate(labels)}
    docs = [[column[t] for t in doc if t in column] for doc in parts["TRAIN"]]
    docs = [doc for doc in docs if doc]
    assert (len(docs), len(labels)) == (7770, 90)
    train = [docs[k] for k in np.random.default_rng(123).permutation(len(docs))[:6770]]
    freq = Counter(i for doc in train for i in doc)
    indices = np.concatenate(train)
    indptr = np.cumsum([0, *map(len, train)])
    targets = sparse.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(6770, 90))
    mu = suggest_mu(targets, np.array([freq[i] for i in range(90)]))
    assert mu == pytest.approx(0.9, abs=0.02)
