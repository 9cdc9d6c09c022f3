"""The scores folder: what comes back, and which folders are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from components._formats.scores import Scores, read_scores, scores_of, write_scores
from longtail.errors import DataError
from longtail.evaluation.keeping import Keep
from longtail.evaluation.sparse_scores import SparseScores
from tests.builders.paths import ROOT

LABELS = ["Größe/kg", "x" * 300, '日本語, "quoted"\nline']
IDS = ["doc 1", "дoc-2"]


def some(dtype: type = np.float32) -> Scores:
    values = np.array([[0.25, 0.5, 1.0], [0.125, 0.0, 0.75]], dtype=dtype)
    return Scores(IDS, LABELS, values, sp.csr_matrix([[0, 1, 1], [0, 0, 0]], dtype=np.int64))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scores(tmp_path / "val", some())
    return tmp_path / "val"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_written_comes_back_memory_mapped(tmp_path: Path, dtype: type) -> None:
    write_scores(tmp_path / "val", some(dtype))
    back = read_scores(tmp_path / "val")
    assert (back.ids, back.labels) == (IDS, LABELS)
    assert isinstance(back.scores, np.memmap) and back.scores.mode == "r"
    assert back.scores.dtype == dtype
    np.testing.assert_array_equal(back.scores, some(dtype).scores)
    assert isinstance(back.targets, sp.csr_matrix) and back.targets.dtype == np.int8
    np.testing.assert_array_equal(back.targets.toarray(), [[0, 1, 1], [0, 0, 0]])


def test_float16_is_refused_because_it_makes_a_certainty_of_09999(folder: Path) -> None:
    """In float16 0.9999 is 1, whose logit no other model's score can outweigh in a blend."""
    assert np.float16(0.9999) == 1 > np.float32(0.9999)
    with pytest.raises(TypeError, match="scores must be float32 or float64, got float16"):
        write_scores(folder, some(np.float16))
    np.save(folder / "scores.npy", some().scores.astype(np.float16))
    with pytest.raises(DataError) as caught:
        read_scores(folder)
    assert str(caught.value) == (
        f"{folder}: scores are float16; expected float32 or float64 (in float16, 0.9999 is 1). "
        "Write them again; `dvc repro` does so for the stages of this pipeline."
    )


def test_the_same_scores_give_the_same_bytes_and_only_three_files(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"scores.npy", "targets.npz", "index.json"}
    write_scores(folder, some())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_names_are_kept_readable(folder: Path) -> None:
    assert "Größe/kg" in (folder / "index.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("ids", "labels"), [(IDS[:1], LABELS), (IDS, LABELS[:2]), ([*IDS, "3"], LABELS)]
)
def test_an_index_of_the_wrong_shape_is_refused(
    folder: Path, ids: list[str], labels: list[str]
) -> None:
    (folder / "index.json").write_text(json.dumps({"ids": ids, "labels": labels}))
    with pytest.raises(DataError) as caught:
        read_scores(folder)
    assert str(caught.value) == (
        f"{folder}: scores (2, 3) and targets (2, 3) do not match the index "
        f"({len(ids)}, {len(labels)}); remove the folder and run `dvc repro`."
    )


def test_scores_or_targets_of_the_wrong_shape_are_refused(folder: Path) -> None:
    sp.save_npz(folder / "targets.npz", sp.csr_matrix((3, 2), dtype=np.int8))
    with pytest.raises(
        DataError, match=r"scores \(2, 3\) and targets \(3, 2\) do not match the index"
    ):
        read_scores(folder)
    write_scores(folder, some())
    np.save(folder / "scores.npy", np.zeros((3, 2)))
    with pytest.raises(
        DataError, match=r"scores \(3, 2\) and targets \(2, 3\) do not match the index"
    ):
        read_scores(folder)


@pytest.mark.parametrize("name", ["scores.npy", "targets.npz", "index.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_a_missing_or_damaged_file_is_refused(folder: Path, name: str, damage: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage != "missing":
        (folder / name).write_bytes(content[: len(content) - 9] if damage == "truncated" else b"")
    with pytest.raises(DataError) as caught:
        read_scores(folder)
    assert str(caught.value).startswith(f"{folder} is not a complete folder of scores (")


def test_pickled_scores_are_never_loaded(folder: Path) -> None:
    np.save(folder / "scores.npy", np.array([[{}] * 3] * 2, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects in dtype|allow_pickle"):
        read_scores(folder)


FULL = """
import numpy as np, scipy.sparse as sp, sys
from pathlib import Path
from components._frame.launch import guarded
from components._formats.scores import Scores, write_scores
n_docs, labels = 1000, [str(i) for i in range(100)]
scores = Scores([str(i) for i in range(n_docs)], labels, np.zeros((n_docs, 100), np.float32),
                sp.csr_matrix((n_docs, 100), dtype=np.int8))
guarded("stage", lambda: write_scores(Path(sys.argv[1]) / "val", scores))
"""


def test_a_full_disk_is_temporary_and_leaves_the_old_folder(tmp_path: Path, folder: Path) -> None:
    """On a real file system of 128 KiB, mounted for one process."""
    script = (
        'mount -t tmpfs -o size=128k none "$1" || exit 99; cp -r "$2" "$1"; '
        '"$3" -c "$4" "$1"; code=$?; ls -A "$1"; exit $code'
    )
    mount = tmp_path / "disk"
    mount.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("no unshare, so no small file system")
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, str(mount), str(folder), sys.executable, FULL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 75, done.stderr
    assert done.stderr.startswith("stage: ") and done.stderr.count("\n") == 1
    assert done.stdout.split() == ["val"]


def test_sparse_scores_come_back_memory_mapped_and_are_refused_damaged(tmp_path: Path) -> None:
    values = np.array([[0.25, 0.5, 1.0], [0.125, 0.0, 0.75]], dtype=np.float32)
    targets = sp.csr_matrix([[0, 1, 1], [0, 0, 0]], dtype=np.int8)
    kept = Keep(2, 0.1).scored(lambda rows: values[rows], targets)
    write_scores(tmp_path / "val", Scores(IDS, LABELS, kept, targets))
    assert not (tmp_path / "val" / "scores.npy").exists()
    back = read_scores(tmp_path / "val").scores
    assert isinstance(back, SparseScores) and isinstance(back.values, np.memmap)
    expected = np.float32([[np.nan, 0.5, 1.0], [0.125, np.nan, 0.75]])
    np.testing.assert_array_equal(back.dense(np.nan), expected)
    turned = scores_of(tmp_path / "val", IDS[::-1], LABELS)
    assert isinstance(turned, SparseScores)
    np.testing.assert_array_equal(turned.dense(np.nan), expected[::-1])
    np.save(tmp_path / "val" / "columns.npy", np.int32([1, 2, 0, 3]))
    with pytest.raises(DataError, match="its arrays do not fit each other"):
        read_scores(tmp_path / "val")
