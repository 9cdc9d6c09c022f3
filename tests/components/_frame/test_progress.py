"""Progress of long work without a terminal: one line per interval."""

from __future__ import annotations

import time

import pytest

from components._frame import progress as module
from components._frame.progress import progress, progress_line


def test_a_line_is_printed_per_interval_even_within_one_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.2)
    with progress("features", "documents") as show:
        show(100, 400)
        time.sleep(0.7)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("features: 100 of 400 documents, ") for line in lines)


def test_quick_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("features", "documents") as show:
        show(400, 400)
    assert capsys.readouterr() == ("", "")


def test_lines_stop_when_the_work_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.05)
    with pytest.raises(ZeroDivisionError), progress("features", "documents"):
        raise ZeroDivisionError
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_no_progress_yet_is_not_a_division_by_zero() -> None:
    assert progress_line("svm", "labels", 0, 90, 31.0) == "svm: 0 of 90 labels, 0.0 per second"
