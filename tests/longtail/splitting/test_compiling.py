"""Compiled loops are kept where several checkouts find them, and torn ones are never run."""

from __future__ import annotations

import importlib.util

import numba
import pytest
from numba.core.caching import IndexDataCacheFile

from longtail.splitting import compiling


def test_compiled_without_a_cache_folder(monkeypatch):
    """A read-only installation compiles in memory instead of failing at import."""
    monkeypatch.setattr(compiling.Implementation, "_locator_classes", [])
    assert compiling.compiled(lambda x: x + 1)(2) == 3


LOOP = """
from longtail.splitting.compiling import compiled

@compiled
def successor(x):
    return x + 1
"""


def compiled_in(folder, source=LOOP):
    """Call the loop of a module in `folder` and count how often it was found compiled."""
    folder.mkdir(exist_ok=True)
    path = folder / "some_loops.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("some_loops", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.successor(2) == 3
    return sum(module.successor.stats.cache_hits.values())


def test_checkouts_of_the_same_code_share_what_was_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    assert compiled_in(tmp_path / "monday") == 0
    assert compiled_in(tmp_path / "tuesday") == 1
    assert compiled_in(tmp_path / "changed", LOOP + "# in another version\n") == 0


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("left", [0, 20])
def test_a_torn_cache_is_compiled_anew(kind, left, tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    assert compiled_in(tmp_path / "monday") == 0
    (found,) = tmp_path.glob(f"cache/*/{kind}")
    found.write_bytes(found.read_bytes()[:left])
    assert compiled_in(tmp_path / "tuesday") == 0
    assert compiled_in(tmp_path / "wednesday") == 1


def test_code_that_could_not_be_kept_is_not_taken_from_an_older_index(tmp_path, monkeypatch):
    """numba's index named a file that it could not write, and an older one had that name."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    folder = tmp_path / "monday"
    assert compiled_in(folder) == 0
    changed = LOOP.replace("x + 1", "x + x - 1")  # the same result for 2 alone

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(IndexDataCacheFile, "_save_data", full)
        assert compiled_in(folder, changed) == 0
    assert compiled_in(folder, changed) == 0, "the older code has another file"
    assert compiled_in(folder, changed) == 1


def test_a_torn_index_on_a_full_disk_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    assert compiled_in(tmp_path / "monday") == 0
    (index,) = tmp_path.glob("cache/*/*.nbi")
    index.write_bytes(index.read_bytes()[:-20])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "flush", full)
    assert compiled_in(tmp_path / "tuesday") == 0
