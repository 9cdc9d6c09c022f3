"""A version on Spark says what it says without, also when a worker is lost, and is checked first.

`make test-spark` runs this; it needs pyspark and Java.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components import register
from components._registry import client as registry
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import build, corpus

MISSING = [
    what
    for what, there in (
        ("pyspark", importlib.util.find_spec("pyspark")),
        ("Java", shutil.which("java")),
    )
    if not there
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.beyond_gate,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(900),
]
N_DOCS, N_PARTITIONS = 10_000, 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("spark")
    build(home, wrong=1, blend_weight=0.3)
    with (home / "params.yaml").open("a") as handle:
        handle.write("predict: {batch_docs: 256}\n")
    frame, size = corpus(N_DOCS, seed=7)[["id", "text"]], N_DOCS // N_PARTITIONS
    for i in range(N_PARTITIONS):
        folder = home / f"lake/day={i % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        frame[i * size : (i + 1) * size].to_parquet(folder / f"{i // 4}.parquet", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        register.run()
        registry.connect().set_registered_model_alias("longtail", "champion", "1")
        done = started(home, "plain").communicate()[0]
        assert f"20 predicted now ({N_DOCS:,} documents)" in done
        yield home


def started(home: Path, output: str, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "components.predict", "lake", "--output", output, *argv],
        cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def outputs(home: Path, name: str) -> dict[str, object]:
    paths = sorted((home / name).glob("day=*/*.parquet"))  # without what is being written
    return {str(path.relative_to(home / name)): pq.ParquetFile(path).read() for path in paths}


def assert_as_plain(home: Path, name: str) -> None:
    expected, found = outputs(home, "plain"), outputs(home, name)
    assert list(found) == list(expected) and len(expected) == N_PARTITIONS
    for key, table in expected.items():
        for column in ("id", "labels"):
            assert found[key][column].equals(table[column]), (key, column)
        mine, other = (
            t["scores"].combine_chunks().flatten().to_pylist() for t in (found[key], table)
        )
        assert mine == pytest.approx(other, abs=1e-5)


def test_spark_says_what_the_version_says_without(home: Path) -> None:
    done = started(home, "spark", "--spark", "local[2]")
    said = done.communicate()[0]
    assert done.returncode == 0 and f"20 predicted now ({N_DOCS:,} documents)" in said, said
    assert_as_plain(home, "spark")


def test_a_lost_worker_loses_nothing(home: Path) -> None:
    """`local` gives a task one try: the run ends with 75, and the next one goes on."""
    run = started(home, "lost", "--spark", "local[2]")
    while run.poll() is None and len(outputs(home, "lost")) < 2:
        time.sleep(0.1)
    workers = [pid for pid in below(run.pid) if b"pyspark.daemon" in argv_of(pid)]
    assert workers and run.poll() is None
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    said = run.communicate()[0]
    assert run.returncode == 75 and "predict: Spark gave up: " in said, said
    n_done = len(outputs(home, "lost"))
    assert 2 <= n_done < N_PARTITIONS
    again = started(home, "lost", "--spark", "local[2]").communicate()[0]
    assert f"{N_PARTITIONS - n_done} predicted now" in again and f"{n_done} before" in again
    assert_as_plain(home, "lost")


def test_nothing_of_a_changed_version_runs(home: Path) -> None:
    [code] = home.glob("mlruns/**/code/components/_formats/linear.py")
    before = code.read_text()
    code.write_text(before + f"\nopen({str(home / 'ran')!r}, 'w')\n")
    try:
        done = started(home, "changed", "--spark", "local[2]")
        said = done.communicate()[0]
    finally:
        code.write_text(before)
    assert done.returncode == 3 and "linear.py changed" in said, said
    assert "Nothing of it was run" in said and not (home / "ran").exists()
    assert outputs(home, "changed") == {}


def below(pid: int) -> list[int]:
    """All descendants of a process."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:  # ended in the meantime
            continue
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def argv_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
