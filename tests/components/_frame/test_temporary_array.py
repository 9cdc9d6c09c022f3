"""Arrays in files that nobody has to clean up after."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from components._frame.temporary_array import PREFIX, temporary_array
from tests.builders.paths import ROOT

HOLD = """
import time
from components._frame.temporary_array import temporary_array
held = temporary_array((1000, 2), "float32")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{PREFIX}*"))


def test_zeros_whose_file_ends_with_them(folder: Path) -> None:
    array = temporary_array((3, 4), np.float16)
    assert isinstance(array, np.memmap) and array.shape == (3, 4) and not array.any()
    [name] = files(folder)
    assert (folder / name).stat().st_size == 24
    array[1] = 2
    view = array[1:]
    other = temporary_array((2,), np.int64)
    assert len(files(folder)) == 2, "one that is in use is not taken for one left behind"
    assert view.sum() == 8 and other.dtype == np.int64
    del array, view, other
    gc.collect()
    assert files(folder) == []


def test_no_documents_need_no_room(folder: Path) -> None:
    assert temporary_array((0, 4), np.float32).shape == (0, 4)


def test_what_a_killed_process_left_is_deleted_by_the_next(folder: Path) -> None:
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        [held] = files(folder)
        mine = temporary_array((1,), np.int8)
        assert held in files(folder), "its process lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert held in files(folder)
    another = temporary_array((1,), np.int8)
    assert len(files(folder)) == 2 and held not in files(folder)
    del mine, another


def test_a_disk_without_room_is_told_and_nothing_is_left(folder: Path, monkeypatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left .*: 4.8 GB are needed in ") as caught:
        temporary_array((300, 4_000_000), np.float32)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(folder))
    assert files(folder) == []
