"""This repository over a small corpus: its real stages, in two minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from components._formats.corpus import write_corpus
from tests.builders.nights import run
from tests.builders.paths import ROOT

SPLIT, THRESHOLDS, METRICS = (
    "artifacts/split/assignment.parquet", "artifacts/thresholds/thresholds.json",
    "reports/metrics.json",
)  # fmt: skip
# Numbers that depend on the clock or the machine, not on the data.
TIMES = ("seconds", "latency", "ms", "rate")


def make_project(folder: Path, deliveries: tuple[int, ...]) -> Path:
    """A clone of this repository with 300 documents, and `deliveries` of more in `../in<n>/`."""
    clone(folder)
    n_docs = 300 + sum(deliveries)
    in_project(folder, "python", "-m", "components.ingest", "synthetic", "--docs", str(n_docs),
               "--labels", "12", "--seed", "3")  # fmt: skip
    corpus = pd.read_parquet(folder / "data" / "corpus.parquet")
    for i, size in enumerate(deliveries, start=1):
        new, corpus = corpus.iloc[-size:], corpus.iloc[:-size]
        source = folder.parent / f"in{i}"
        source.mkdir()
        new[["id", "text", "labels"]].to_json(source / f"{i}.jsonl", orient="records", lines=True)
    return commit(folder, corpus, small_params(folder))


def clone(folder: Path) -> None:
    """A clone of this repository, as committed, without its data."""
    run("git", "clone", "--quiet", str(ROOT), str(folder), cwd=folder.parent)
    for name in ("data.dvc", "dvc.lock"):
        (folder / name).unlink(missing_ok=True)


def commit(folder: Path, corpus: pd.DataFrame, params: dict) -> Path:
    """Give a clone its corpus and parameters, and commit them."""
    write_corpus(corpus, folder / "data" / "corpus.parquet")
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    in_project(folder, "python", "-m", "dvc", "add", "--quiet", "data")
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "-m", "A small corpus", cwd=folder)
    return folder


def small_params(folder: Path) -> dict:
    """The project's parameters with the bundled encoder, short training and a short report."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"] |= {"losses": ["db"], "profile": "head", "max_length": 32}
    params["train"]["head"] |= {"hidden": 32, "epochs": 4}
    params["baseline"]["costs"] = [1.0]
    params["report"] |= {"n_draws": 100, "worst_errors": 2, "attribution_steps": 4}
    params["promote"]["min_sample"] |= {"docs": 20, "positives": 20}
    # These nights test the path through the pipeline; the gate has its own tests.
    params["promote"]["floors"] = {"micro_f1": 0.0, "macro_f1": 0.0}
    params["promote"]["over_baseline"] = {"micro_f1": -1.0, "macro_f1": -1.0}
    params["promote"]["limits"] |= {"seconds_per_doc": 60.0, "start_seconds": 600.0}
    return params


def in_project(folder: Path, *argv: str) -> None:
    """Run a command of the project, with its own scratch folder."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**os.environ, "PATH": path, "LONGTAIL_CACHE": str(folder / ".cache")}
    settings.pop("PYTHONPATH", None)
    done = subprocess.run(argv, cwd=folder, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]


def checkout(project: Path, folder: Path, source: Path) -> Path:
    """A clone of `project` with its data and the new texts of `source`; no stage has run."""
    run("git", "clone", "--quiet", str(project), str(folder), cwd=project)
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {project}/.dvc/cache\n")
    in_project(folder, "python", "-m", "dvc", "checkout", "--quiet", "data.dvc")
    new = [str(path) for path in source.iterdir()]
    in_project(folder, "python", "-m", "components.ingest", "jsonl", *new)
    in_project(folder, "python", "-m", "dvc", "add", "--quiet", "data")
    return folder


def reproduce(project: Path, folder: Path, source: Path) -> Path:
    """The outputs of `dvc repro` in `project` with the new texts of `source`."""
    checkout(project, folder, source)
    in_project(folder, "python", "-m", "dvc", "repro", "--quiet", "--no-run-cache", "--no-commit")
    return folder


def assert_same(found: Path, reference: Path) -> None:
    """Check that the splits are identical, and thresholds and metrics equal within 1e-6."""
    pd.testing.assert_frame_equal(
        pd.read_parquet(found / SPLIT), pd.read_parquet(reference / SPLIT)
    )
    for name in (THRESHOLDS, METRICS):
        actual, expected = (
            dict(flatten(json.loads((folder / name).read_text()))) for folder in (found, reference)
        )
        assert sorted(actual) == sorted(expected)
        assert len(expected) > 5
        for key, value in expected.items():
            if isinstance(value, float):
                assert actual[key] == pytest.approx(value, abs=1e-6, rel=0), key
            else:
                assert actual[key] == value, key


def flatten(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf with its path, except `TIMES`."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            yield from flatten(inner, f"{path}/{name}")
    elif not any(word in path.rsplit("/", 1)[-1] for word in TIMES):
        yield path, value
