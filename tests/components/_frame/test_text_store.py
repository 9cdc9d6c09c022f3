"""The text store gives back what it was given, or nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from components._frame import text_store
from components._frame.text_store import TextStore

TEXTS = ["one", "two", "drei", "vier\n", ""]
VECTORS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.sqlite"


@pytest.fixture
def store(path: Path) -> TextStore:
    made = TextStore(path, 3, np.float32)
    made.put(TEXTS, VECTORS)
    return made


def found(store: TextStore, texts: list[str] = TEXTS) -> dict[str, list[float]]:
    return {text: vector.tolist() for text, vector in store.known(texts).items()}


ALL = dict(zip(TEXTS, VECTORS.tolist(), strict=True))


def test_another_run_finds_them_in_any_order(store, path) -> None:
    assert found(TextStore(path, 3, np.float32), ["three", *reversed(TEXTS), "one"]) == ALL


def test_more_texts_than_a_query_takes(path) -> None:
    texts = [str(i) for i in range(1201)]
    vectors = np.arange(2402, dtype=np.float32).reshape(-1, 2)
    store = TextStore(path, 2, np.float32)
    store.put(texts, vectors)
    assert found(store, texts) == dict(zip(texts, vectors.tolist(), strict=True))


def test_half_precision_keeps_three_digits(path) -> None:
    store = TextStore(path, 3, np.float16)
    store.put(TEXTS, VECTORS)
    assert store.known(["one"])["one"].dtype == np.float16
    np.testing.assert_allclose(store.known(["one"])["one"], VECTORS[0], rtol=1e-3)


def test_a_damaged_vector_is_not_believed(store, path) -> None:
    key = text_store._key("two")
    with closing(sqlite3.connect(path)) as file, file:
        (kept,) = file.execute("SELECT vector FROM vectors WHERE key = ?", [key]).fetchone()
        wrong = bytes([kept[0] ^ 1]) + kept[1:]
        file.execute("UPDATE vectors SET vector = ? WHERE key = ?", [wrong, key])
    assert found(store) == {text: vector for text, vector in ALL.items() if text != "two"}


def test_a_vector_of_another_text_is_not_believed(store, path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        one = "(SELECT vector FROM vectors WHERE key = ?)"
        keys = [text_store._key("one"), text_store._key("two")]
        file.execute(f"UPDATE vectors SET vector = {one} WHERE key = ?", keys)
    assert "two" not in found(store)


def test_what_is_not_finite_is_neither_kept_nor_believed(path) -> None:
    vectors = VECTORS.copy()
    vectors[1, 2] = np.nan
    vectors[3, 0] = 1e5  # float16 has no such number
    half = TextStore(path, 3, np.float16)
    with np.errstate(over="ignore"):
        half.put(TEXTS, vectors)
    assert set(found(half)) == {"one", "drei", ""}
    key, wrong = text_store._key("two"), np.full(3, np.nan, np.float16)
    with closing(sqlite3.connect(path)) as file, file:  # as an earlier version kept it
        row = [key, 0, text_store._packed(key, wrong)]
        file.execute("INSERT INTO vectors VALUES (?, ?, ?)", row)
    assert set(found(half)) == {"one", "drei", ""}


def test_another_table_of_the_same_name_is_made_anew(path, capsys) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("CREATE TABLE vectors (a, b)")
    store = TextStore(path, 3, np.float32)
    assert found(store) == {} and "was damaged" in capsys.readouterr().out
    store.put(TEXTS, VECTORS)
    assert found(store) == ALL


def test_a_file_that_can_only_be_read_is_read_to_its_end(path, monkeypatch, capsys) -> None:
    """Also on a later day, whose date cannot be written."""
    texts = [str(i) for i in range(1201)]
    vectors = np.arange(2402, dtype=np.float32).reshape(-1, 2)
    TextStore(path, 2, np.float32).put(texts, vectors)
    monkeypatch.setattr(text_store, "_today", lambda: 10**6)
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **how: connect(f"file:{path}?mode=ro", uri=True, **how)
    )
    store = TextStore(path, 2, np.float32)
    assert found(store, texts) == dict(zip(texts, vectors.tolist(), strict=True))
    assert "readonly database" in capsys.readouterr().out


def test_a_damaged_file_that_cannot_be_replaced_costs_only_time(path, monkeypatch, capsys) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path.write_bytes(b"no database at all" * 100)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert found(TextStore(path, 3, np.float32)) == {}
    assert "what is computed is not kept" in capsys.readouterr().out


@pytest.mark.parametrize("torn", [b"", b"no database at all" * 100, None])
def test_a_file_that_is_no_database_is_made_anew(store, path, torn) -> None:
    path.write_bytes(path.read_bytes()[:5000] if torn is None else torn)
    store.known(TEXTS)
    store.put(TEXTS, VECTORS)
    assert found(TextStore(path, 3, np.float32)) == ALL


def test_where_nothing_can_be_written_the_run_goes_on_and_says_so(tmp_path, capsys) -> None:
    path = tmp_path / "vectors.sqlite"
    path.mkdir()
    store = TextStore(path, 3, np.float32)
    assert found(store) == {}
    store.put(TEXTS, VECTORS)
    assert capsys.readouterr().out.count("what is computed is not kept") == 1


def test_what_was_not_asked_for_the_longest_goes_first(path, monkeypatch) -> None:
    store = TextStore(path, 300, np.float32)
    rows = np.ones((40, 300), np.float32)
    texts = [str(i) for i in range(120)]
    monkeypatch.setattr(text_store, "MOST_BYTES", 110_000)
    for day, start in enumerate((0, 40, 80)):
        monkeypatch.setattr(text_store, "_today", lambda day=day: day)
        store.known(texts[:20])
        store.put(texts[start : start + 40], rows)
    left = set(found(store, texts))
    assert set(texts[:20]) <= left, "asked for every day"
    assert left.isdisjoint(texts[20:24]), "the oldest of the others"
    assert set(texts[80:]) <= left


WRITER = """
import sys; from pathlib import Path; import numpy as np
from components._frame.text_store import TextStore
store = TextStore(Path(sys.argv[1]), 3, np.float32)
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
    store = TextStore(path, 3, np.float32)
    kept = found(store, [f"{name} {i}" for name in "ab" for i in range(60)])
    assert {text for text in kept if text[0] == "a"} == {f"a {i}" for i in range(60)}
    assert {f"b {i}" for i in range(10)} <= set(kept)
    assert all(vector == [float(text[2:])] * 3 for text, vector in kept.items())
