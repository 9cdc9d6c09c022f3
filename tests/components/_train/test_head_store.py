"""The head store gives back what it was given, or nothing."""

from __future__ import annotations

import os
import pickle
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from components._train import head_store
from components._train.head_store import HeadStore
from longtail.evaluation.sparse_scores import NOTHING, SparseScores
from longtail.models.classifier import Head
from longtail.models.heads import Fitted

DENSE = np.random.default_rng(0).random((5, 3), np.float32)
SPARSE = SparseScores(
    np.array([0.5, 0.25, 0.125], np.float32),
    np.array([2, 0, 1], np.int32),
    np.array([0, 1, 1, 3]),
    np.array([0.1, 0.2, NOTHING], np.float32),
    np.array([NOTHING, 0.1, 0.2], np.float32),
)
HISTORY = [{"epoch": 1, "train_loss": 0.1 + 0.2, "micro_f1": 1 / 3}, {"epoch": 2}]


def head(hidden: int = 4, label_names: bool = True) -> Head:
    made = Head(6, 3, hidden, 0.25, label_names)
    made.standardize_by(torch.randn(9, 6))
    return made


@pytest.fixture
def store(tmp_path: Path) -> HeadStore:
    (tmp_path / "heads").mkdir()
    made = HeadStore(tmp_path / "heads")
    made.put("dense", Fitted(head(), DENSE, HISTORY))
    return made


def kept(store: HeadStore, key: str = "dense") -> Path:
    return store.folder / key


@pytest.mark.parametrize(
    "own",
    [head(), head(0, False), head(4, False), None],
    ids=["named", "linear", "plain", "no head"],
)
@pytest.mark.parametrize("scores", [DENSE, DENSE[:0], SPARSE], ids=["dense", "none", "sparse"])
def test_another_run_finds_the_same(tmp_path, own, scores) -> None:
    HeadStore(tmp_path).put("one", Fitted(own, scores, HISTORY))
    store = HeadStore(tmp_path)
    found = store.known("one")
    assert found is not None and found.history == HISTORY
    assert (store.counts["known"], store.counts["put"]) == (1, 0)
    pairs = [(found.scores, scores)]
    if isinstance(scores, SparseScores):
        pairs = [(getattr(found.scores, f.name), getattr(scores, f.name)) for f in fields(scores)]
    for mine, expected in pairs:
        np.testing.assert_array_equal(mine, expected)
        assert mine.dtype == expected.dtype
    if own is None:
        assert found.head is None
        return
    assert found.head is not None and not found.head.training
    assert str(found.head) == str(own), "dropout, too"
    state = found.head.state_dict()
    assert state.keys() == own.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in own.state_dict().items())


@pytest.mark.parametrize("place", [0, 63, 64, 200, -1])
def test_a_damaged_file_is_not_believed(store, place) -> None:
    data = bytearray(kept(store).read_bytes())
    data[place] ^= 1
    kept(store).write_bytes(data)
    assert store.known("dense") is None


@pytest.mark.parametrize("size", [0, 10, 64, 1000])
def test_a_torn_file_is_not_believed(store, size) -> None:
    kept(store).write_bytes(kept(store).read_bytes()[:size])
    assert store.known("dense") is None
    store.put("dense", Fitted(None, DENSE, HISTORY))
    assert store.known("dense") is not None


def test_a_file_under_another_name_is_not_believed(store) -> None:
    other = HeadStore(store.folder.with_name("other"))
    other.folder.mkdir()
    for place in (kept(store, "other"), kept(other)):
        place.write_bytes(kept(store).read_bytes())
    assert store.known("other") is None
    assert other.known("dense") is None, "of other code"
    assert store.known("dense") is not None


class Planted:
    def __reduce__(self):
        return (Path.touch, (Path("planted"),))


def test_no_code_is_run_even_if_the_digest_is_right(store, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = kept(store)
    path.write_bytes(head_store._sealed(path, pickle.dumps(Planted(), 2)))
    assert store.known("dense") is None
    path.write_bytes(head_store._sealed(path, b"no tensors"))
    assert store.known("dense") is None
    assert not Path("planted").exists()


def test_those_not_asked_for_the_longest_are_forgotten(store, monkeypatch) -> None:
    """Room for three files; the one left by a kill is as old as what was put then."""
    (store.folder / "tmpleft").write_bytes(b"half")
    size = kept(store).stat().st_size
    monkeypatch.setattr(head_store, "MOST_BYTES", int(3.5 * size))
    for second, key in enumerate(("two", "three")):
        store.put(key, Fitted(head(), DENSE, HISTORY))
        age(kept(store, key), 100 + second)
    age(store.folder / "tmpleft", 50)
    age(kept(store), 60)
    assert store.known("dense") is not None  # asked for, so the youngest now
    store.put("four", Fitted(head(), DENSE, HISTORY))
    left = {key for key in ("dense", "two", "three", "four") if store.known(key) is not None}
    assert left == {"dense", "three", "four"}
    assert not (store.folder / "tmpleft").exists()


def age(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


@pytest.mark.parametrize("small", [head(2, False), None], ids=["head", "none"])
def test_what_is_too_large_is_not_kept(store, monkeypatch, small) -> None:
    """Because of its scores, or with the head; else it would drive out everything, itself too."""
    monkeypatch.setattr(head_store, "LARGEST", 8_000)
    monkeypatch.setattr(head_store, "MOST_BYTES", 16_000)
    large = Head(400, 300, 8, 0.1, False)
    store.put("scores", Fitted(small, np.zeros((1000, 3), np.float32), HISTORY))
    store.put("weights", Fitted(large, DENSE, HISTORY))
    store.put("small", Fitted(small, DENSE, HISTORY))
    left = {key for key in ("dense", "scores", "weights", "small") if store.known(key) is not None}
    assert left == {"dense", "small"}
    assert len(list(store.folder.iterdir())) == 2


@pytest.mark.parametrize("place", ["weights", "scores"])
def test_what_is_no_number_is_not_kept(store, place) -> None:
    own, scores = head(), DENSE.copy()
    if place == "weights":
        torch.nn.init.constant_(own.layers[0].weight, torch.nan)
    else:
        scores[2, 1] = np.inf
    store.put("wrong", Fitted(own, scores, HISTORY))
    assert store.known("wrong") is None


def test_odd_files_are_not_read(store) -> None:
    kept(store, "folder").mkdir()
    os.mkfifo(kept(store, "pipe"))
    with kept(store, "sparse").open("wb") as file:
        file.truncate(2**40)
    assert [store.known(key) for key in ("folder", "pipe", "sparse")] == [None] * 3


def test_a_cache_that_is_only_read_is_read(store, monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(os, "utime", refused)
    assert store.known("dense") is not None
    assert kept(store).stat().st_mode & 0o044 == 0o044, "others may read it"


def test_what_could_not_be_written_whole_is_removed(store, monkeypatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.open("wb").write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    store.put("late", Fitted(head(), DENSE, HISTORY))
    assert [path.name for path in store.folder.iterdir()] == ["dense"]
    assert not store.usable


def test_where_nothing_can_be_written_it_says_so_once_and_goes_on(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path))
    (tmp_path / "heads").write_text("a file")
    for make in (lambda: HeadStore(tmp_path / "gone"), lambda: HeadStore.cached("cpu")):
        store = make()
        for key in ("one", "two"):
            assert store.known(key) is None
            store.put(key, Fitted(head(), DENSE, HISTORY))
        assert capsys.readouterr().out.count("what is trained is not kept") == 1
        assert store.counts["put"] == 2


def test_each_code_version_and_device_has_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path))
    own = HeadStore.cached("cpu").folder
    assert own.parent == tmp_path / "heads"
    assert own == HeadStore.cached("cpu").folder
    for where, name, other in (
        (head_store, "code_digest", lambda _: "x"),
        (head_store, "computes_bf16", lambda device: "neither"),
        (torch.backends.cpu, "get_cpu_capability", lambda: "NEON"),
        (torch, "__version__", "1.0"),
        (np, "__version__", "1.0"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, other)
            assert HeadStore.cached("cpu").folder != own, name
    HeadStore.cached("cpu").put("one", Fitted(head(), DENSE, HISTORY))
    assert HeadStore.cached("cpu").known("one") is not None
