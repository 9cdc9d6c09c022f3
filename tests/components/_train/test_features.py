"""What is kept between runs is found again only by a run that would make the same thing."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import longtail.models.features
from components._formats.assignment import Part
from components._train import features, finetuned
from components._train.params import Params
from longtail import label_matrix
from longtail.errors import DataError
from longtail.losses import make_loss
from longtail.models.classifier import N_POOLS, Classifier
from longtail.models.features import extract_features
from tests.builders.params import stage_params
from tests.builders.small_project import LABELS, small_corpus, small_params, write_encoder

Parts = dict[str, Part]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    write_encoder(tmp_path / "encoder")
    return stage_params(Params, "train", small_params(tmp_path / "encoder")["train"])


def documents() -> Parts:
    """Forty documents of train, twenty of val."""
    corpus = small_corpus(60)
    targets = label_matrix.encode(corpus["labels"].tolist(), LABELS)
    ids, texts = corpus["id"].tolist(), corpus["text"].tolist()
    rows = {"train": slice(0, 40), "val": slice(40, 60)}
    return {name: part(ids[at], texts[at], targets[at]) for name, at in rows.items()}


def features_of(texts: list[str], params: Params, *, fast: bool = False) -> np.ndarray:
    return features.features_of(features.pretrained(LABELS, params), texts, params, fast=fast)


def part(ids: list[str], texts: list[str], targets: sp.csr_matrix) -> Part:
    return Part(ids, texts, targets, np.full(len(ids), -1))


def constant(number: float) -> Callable[..., np.ndarray]:
    """Stands for `extract_features`: every feature is that number."""

    def extract(model: Classifier, texts: list[str], **_: object) -> np.ndarray:
        width = N_POOLS * model.encoder.config.hidden_size
        return np.full((len(texts), width), number, np.float32)

    return extract


def test_features_of_other_code_are_computed_anew(params, monkeypatch) -> None:
    texts = documents()["val"].texts
    first = features_of(texts, params)
    monkeypatch.setattr(features, "extract_features", constant(7))
    np.testing.assert_array_equal(features_of(texts, params), first)
    monkeypatch.setattr(features, "code_digest", lambda _: "of other code")
    assert (features_of(texts, params) == 7).all()


def test_features_that_are_no_numbers_are_told_and_not_kept(params, monkeypatch) -> None:
    texts = documents()["val"].texts
    with monkeypatch.context() as patch:
        patch.setattr(features, "extract_features", constant(np.nan))
        with pytest.raises(DataError, match=f"gives {len(texts)} of {len(texts)} texts features"):
            features_of(texts, params)
    assert np.isfinite(features_of(texts, params)).all()


def test_another_model_in_the_same_folder_has_its_own_features(params, tmp_path) -> None:
    val = documents()["val"]

    def found() -> np.ndarray:
        return features_of(val.texts, params)

    first = found()
    write_encoder(tmp_path / "encoder", seed=1)
    second = found()
    assert np.abs(second - first).max() > 0.01, "the features are those of the replaced model"
    write_encoder(tmp_path / "encoder")
    np.testing.assert_array_equal(found(), first)
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2, "the first were kept"


def test_the_same_model_in_another_folder_finds_its_features(params, tmp_path, monkeypatch) -> None:
    val = documents()["val"]
    first = features_of(val.texts, params)
    write_encoder(tmp_path / "copy")
    moved = params.model_copy(update={"encoder": str(tmp_path / "copy")})
    monkeypatch.setattr(features, "extract_features", None)  # would fail if it were called
    np.testing.assert_array_equal(features_of(val.texts, moved), first)


def test_only_new_texts_are_computed_and_counted(params, monkeypatch, capsys) -> None:
    val = documents()["val"]
    first = features_of(val.texts, params)
    computed: list[str] = []

    def watched(model: Any, texts: list[str], **options: Any) -> np.ndarray:
        computed.extend(texts)
        return extract_features(model, texts, **options)

    monkeypatch.setattr(features, "extract_features", watched)
    capsys.readouterr()
    later = ["a new text", *reversed(val.texts), "another", "a new text"]
    found = features_of(later, params)
    assert sorted(computed) == ["a new text", "another"]
    assert "features: 20 texts in the cache, 2 to compute" in capsys.readouterr().out
    np.testing.assert_array_equal(found[1 : 1 + len(first)], first[::-1])
    np.testing.assert_array_equal(found[0], found[-1])


def test_texts_are_computed_in_an_order_that_no_process_changes(params, monkeypatch) -> None:
    """A feature's last digits depend on its batch, and the weights on these."""
    texts = [f"word{i} word{i % 7}" for i in (*range(40, 10, -1), 20)]
    computed: list[str] = []

    def watched(model: Any, portion: list[str], **options: Any) -> np.ndarray:
        computed.extend(portion)
        return extract_features(model, portion, **options)

    monkeypatch.setattr(features, "extract_features", watched)
    features_of(["a long text goes first", *texts], params)
    assert computed == ["a long text goes first", *texts[:-1]]


def test_a_killed_run_goes_on_where_it_was(params, monkeypatch) -> None:
    texts = documents()["train"].texts
    monkeypatch.setattr(features, "PORTION", 10)

    def dies(model: Any, portion: list[str], **options: Any) -> np.ndarray:
        computed.append(len(portion))
        if len(computed) == 3:
            raise KeyboardInterrupt
        return extract_features(model, portion, **options)

    computed: list[int] = []
    monkeypatch.setattr(features, "extract_features", dies)
    with pytest.raises(KeyboardInterrupt):
        features_of(texts, params)
    assert len(features_of(texts, params)) == len(texts)
    assert sum(computed) == len(set(texts)) + 10, "only the portion that died is computed again"


def test_fast_and_exact_features_are_not_confused(params, monkeypatch) -> None:
    """Wherever bf16 is emulated too, or there would be nothing to confuse."""
    for module in (features, longtail.models.features):
        monkeypatch.setattr(module, "computes_bf16", lambda device: True)
    texts = documents()["val"].texts
    fast, exact = (features_of(texts, params, fast=fast) for fast in (True, False))
    np.testing.assert_array_equal(features_of(texts, params, fast=True), fast)
    difference = np.abs(fast - exact) / exact.std()
    assert 0 < difference.max() < 0.2


def test_features_are_in_a_file_that_ends_with_them(params, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(features, "AT_ONCE", 7)
    own = list(dict.fromkeys(documents()["val"].texts))
    texts = [own[0], *own, *own[::-1]]  # what comes again comes before others, too
    found = features_of(texts, params)
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    [path] = tmp_path.glob("longtail-array-*")
    assert path.stat().st_size == found.nbytes
    n = len(own)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1 : n + 1], found[:n:-1])
    alone = features_of(own, params)
    np.testing.assert_array_equal(found[1 : n + 1], alone)
    del alone
    there = np.array(found)
    del found
    gc.collect()
    assert not list(tmp_path.glob("longtail-array-*"))
    np.testing.assert_array_equal(features_of(texts, params), there, "from the cache")


@pytest.fixture
def checkpoints(params: Params, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The folder where fine-tuning would look for the checkpoints of a killed run."""
    asked: list[Path] = []

    def fine_tune(model: Any, *_: Any, checkpoints: Path, **__: Any) -> list[Any]:
        asked.append(checkpoints)
        return []

    monkeypatch.setattr(finetuned, "fine_tune", fine_tune)

    def folder(parts: Parts, *, loss: str = "db", **changes: Any) -> Path:
        mine = params.model_copy(update=changes)
        start = features.pretrained(LABELS, mine)
        finetuned.finetune(start, loss, partial(make_loss, loss), parts, mine)
        return asked[-1]

    return folder


def _moved(targets: sp.csr_matrix) -> sp.csr_matrix:
    """The same column numbers in the same order, but one of them in the row before."""
    row = int(np.flatnonzero(np.diff(targets.indptr) > 1)[-1])
    indptr = targets.indptr.copy()
    indptr[row] += 1
    return sp.csr_matrix((targets.data, targets.indices, indptr), shape=targets.shape)


def _relabeled(parts: Parts, name: str) -> Parts:
    return parts | {name: replace(parts[name], targets=_moved(parts[name].targets))}


def _reworded(parts: Parts, name: str) -> Parts:
    texts = [*parts[name].texts[:-1], "another text"]
    return parts | {name: replace(parts[name], texts=texts)}


def test_a_killed_run_finds_its_checkpoints(checkpoints) -> None:
    assert checkpoints(documents()) == checkpoints(documents())


@pytest.mark.parametrize("change", [_relabeled, _reworded])
@pytest.mark.parametrize("part", ["train", "val"])
def test_other_documents_or_labels_have_checkpoints_of_their_own(checkpoints, change, part) -> None:
    """Val too: the best epoch and the end of training are chosen on it."""
    parts = documents()
    changed = change(parts, part)
    same = np.array_equal(changed[part].targets.indices, parts[part].targets.indices)
    assert same, "only the rows of the labels differ"
    assert checkpoints(changed) != checkpoints(parts)


def test_other_doubt_has_checkpoints_of_its_own(checkpoints) -> None:
    parts = documents()
    found = []
    for weight in (0.5, 0.25):
        doubt = np.zeros(parts["train"].targets.shape, np.float32)
        doubt[3, 1] = weight
        doubted = replace(parts["train"], doubt=sp.csr_matrix(doubt))
        found.append(checkpoints(parts | {"train": doubted}))
    assert len({checkpoints(parts), *found}) == 3


def test_a_document_between_the_parts_is_not_the_same(checkpoints) -> None:
    """The texts in one row are equal, but train ends elsewhere."""
    parts = documents()
    train, val = parts["train"], parts["val"]
    targets = sp.vstack([train.targets, val.targets]).tocsr()
    texts, ids = train.texts + val.texts, train.ids + val.ids
    moved = {
        "train": part(ids[:41], texts[:41], targets[:41]),
        "val": part(ids[41:], texts[41:], targets[41:]),
    }
    assert checkpoints(moved) != checkpoints(parts)


def test_another_encoder_loss_or_setting_has_checkpoints_of_its_own(checkpoints, tmp_path) -> None:
    parts = documents()
    found = [checkpoints(parts), checkpoints(parts, loss="bce"), checkpoints(parts, seed=1)]
    write_encoder(tmp_path / "encoder", seed=1)
    found.append(checkpoints(parts))
    assert len(set(found)) == 4
