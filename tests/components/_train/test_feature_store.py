"""The feature store gives back what it was given, or nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from components._train import feature_store
from components._train.feature_store import FeatureStore

TEXTS = ["one", "two", "drei", "vier\n", ""]
FEATURES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "features.sqlite"


@pytest.fixture
def store(path: Path) -> FeatureStore:
    made = FeatureStore(path, 3, np.float32)
    made.put(TEXTS, FEATURES)
    return made


def found(store: FeatureStore, texts: list[str] = TEXTS) -> dict[str, list[float]]:
    return {text: vector.tolist() for text, vector in store.known(texts).items()}


ALL = dict(zip(TEXTS, FEATURES.tolist(), strict=True))


def test_another_run_finds_them_in_any_order(store, path) -> None:
    assert found(FeatureStore(path, 3, np.float32), ["three", *reversed(TEXTS), "one"]) == ALL


def test_more_texts_than_a_query_takes(path) -> None:
    texts = [str(i) for i in range(1201)]
    features = np.arange(2402, dtype=np.float32).reshape(-1, 2)
    store = FeatureStore(path, 2, np.float32)
    store.put(texts, features)
    assert found(store, texts) == dict(zip(texts, features.tolist(), strict=True))


def test_half_precision_keeps_three_digits(path) -> None:
    store = FeatureStore(path, 3, np.float16)
    store.put(TEXTS, FEATURES)
    assert store.known(["one"])["one"].dtype == np.float16
    np.testing.assert_allclose(store.known(["one"])["one"], FEATURES[0], rtol=1e-3)


def test_a_damaged_vector_is_not_believed(store, path) -> None:
    key = feature_store._key("two")
    with closing(sqlite3.connect(path)) as file, file:
        (kept,) = file.execute("SELECT vector FROM features WHERE key = ?", [key]).fetchone()
        wrong = bytes([kept[0] ^ 1]) + kept[1:]
        file.execute("UPDATE features SET vector = ? WHERE key = ?", [wrong, key])
    assert found(store) == {text: vector for text, vector in ALL.items() if text != "two"}


def test_a_vector_of_another_text_is_not_believed(store, path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        one = "(SELECT vector FROM features WHERE key = ?)"
        keys = [feature_store._key("one"), feature_store._key("two")]
        file.execute(f"UPDATE features SET vector = {one} WHERE key = ?", keys)
    assert "two" not in found(store)


def test_what_is_not_finite_is_neither_kept_nor_believed(path) -> None:
    features = FEATURES.copy()
    features[1, 2] = np.nan
    features[3, 0] = 1e5  # float16 has no such number
    half = FeatureStore(path, 3, np.float16)
    with np.errstate(over="ignore"):
        half.put(TEXTS, features)
    assert set(found(half)) == {"one", "drei", ""}
    key, wrong = feature_store._key("two"), np.full(3, np.nan, np.float16)
    with closing(sqlite3.connect(path)) as file, file:  # as an earlier version kept it
        row = [key, 0, feature_store._packed(key, wrong)]
        file.execute("INSERT INTO features VALUES (?, ?, ?)", row)
    assert set(found(half)) == {"one", "drei", ""}


def test_another_table_of_the_same_name_is_made_anew(path, capsys) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE features (a, b)")
    store = FeatureStore(path, 3, np.float32)
    assert found(store) == {} and "was damaged" in capsys.readouterr().out
    store.put(TEXTS, FEATURES)
    assert found(store) == ALL


def test_a_file_that_can_only_be_read_is_read_to_its_end(path, monkeypatch, capsys) -> None:
    """Also on a later day, whose date cannot be written."""
    texts = [str(i) for i in range(1201)]
    features = np.arange(2402, dtype=np.float32).reshape(-1, 2)
    FeatureStore(path, 2, np.float32).put(texts, features)
    monkeypatch.setattr(feature_store, "_today", lambda: 10**6)
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **how: connect(f"file:{path}?mode=ro", uri=True, **how)
    )
    store = FeatureStore(path, 2, np.float32)
    assert found(store, texts) == dict(zip(texts, features.tolist(), strict=True))
    assert "readonly database" in capsys.readouterr().out


def test_a_damaged_file_that_cannot_be_replaced_costs_only_time(path, monkeypatch, capsys) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path.write_bytes(b"no database at all" * 100)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert found(FeatureStore(path, 3, np.float32)) == {}
    assert "features are computed and not kept" in capsys.readouterr().out


@pytest.mark.parametrize("torn", [b"", b"no database at all" * 100, None])
def test_a_file_that_is_no_database_is_made_anew(store, path, torn) -> None:
    path.write_bytes(path.read_bytes()[:5000] if torn is None else torn)
    store.known(TEXTS)
    store.put(TEXTS, FEATURES)
    assert found(FeatureStore(path, 3, np.float32)) == ALL


def test_where_nothing_can_be_written_the_run_goes_on_and_says_so(tmp_path, capsys) -> None:
    path = tmp_path / "features.sqlite"
    path.mkdir()
    store = FeatureStore(path, 3, np.float32)
    assert found(store) == {}
    store.put(TEXTS, FEATURES)
    assert capsys.readouterr().out.count("features are computed and not kept") == 1


def test_what_was_not_asked_for_the_longest_goes_first(path, monkeypatch) -> None:
    store = FeatureStore(path, 300, np.float32)
    rows = np.ones((40, 300), np.float32)
    texts = [str(i) for i in range(120)]
    monkeypatch.setattr(feature_store, "MOST_BYTES", 110_000)
    for day, start in enumerate((0, 40, 80)):
        monkeypatch.setattr(feature_store, "_today", lambda day=day: day)
        store.known(texts[:20])
        store.put(texts[start : start + 40], rows)
    left = set(found(store, texts))
    assert set(texts[:20]) <= left, "asked for every day"
    assert left.isdisjoint(texts[20:24]), "the oldest of the others"
    assert set(texts[80:]) <= left


WRITER = """
import sys; from pathlib import Path; import numpy as np
from components._train.feature_store import FeatureStore
store = FeatureStore(Path(sys.argv[1]), 3, np.float32)
for i in range(60):
    store.put([f"{sys.argv[2]} {i}"], np.full((1, 3), i, np.float32))
    print(i, flush=True)
"""


def test_two_runs_at_once_and_one_killed(path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(path), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with start("a") as a, start("b") as b:
        assert b.stdout is not None
        while int(b.stdout.readline()) < 10:
            pass
        b.kill()
        assert a.wait(120) == 0
    store = FeatureStore(path, 3, np.float32)
    kept = found(store, [f"{name} {i}" for name in "ab" for i in range(60)])
    assert {text for text in kept if text[0] == "a"} == {f"a {i}" for i in range(60)}
    assert {f"b {i}" for i in range(10)} <= set(kept)
    assert all(vector == [float(text[2:])] * 3 for text, vector in kept.items())
