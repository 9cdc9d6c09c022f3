"""Consecutive nights on the default corpus: documents arrive, models are trained, the gate decides.

Run `python -m benchmarks.nights --workspace FOLDER` after `dvc repro`. The corpus arrives in ten
portions (by a hash of the source package). Each night runs the real commands as processes:
`ingest`, which freezes yesterday's assignment, `split`, `frequencies`, `baseline`, `train`,
`thresholds`, `register`, `promote decide`, `promote apply`. The models are small (SMALL below), and
`validate` is left out because the corpus has passed it.

The encoder is frozen, so a night computes the features of its new texts only. Each night adds a
line to `FOLDER/nights.jsonl`; recorded nights are not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from components._formats import choices
from components._formats.annotations import write_label_weights
from components._formats.assignment import read_assignment
from components._formats.corpus import read_corpus, write_corpus
from components._frame.pipeline import load_stages

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "artifacts/validate/corpus.parquet"
PORTIONS = 10
STAGES = ("split", "frequencies", "baseline", "train", "thresholds")
SMALL: dict[str, Any] = {
    "train": {
        "profile": "head",
        "losses": ["db"],
        "head": {"hidden": 128, "epochs": 8, "learning_rate": 2.0e-3},
    },
    "baseline": {"costs": [1.0]},
}


class Nights:
    """One workspace for all nights, with its own registry and cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "nights.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["LONGTAIL_CACHE"] = str(folder / "cache")
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["PYTHONPATH"] = str(ROOT)
        rules = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        for stage, values in SMALL.items():
            rules[stage] = _merged(rules[stage], values)
        (folder / "params.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        shutil.copy(ROOT / "dvc.yaml", folder)
        self.argv = {stage.name: stage.argv for stage in load_stages(ROOT / "dvc.yaml")}
        self.corpus = read_corpus(CORPUS).drop(columns="split", errors="ignore")
        self.portion = np.array([_portion(group) for group in self.corpus["group"]])

    def run(self, nights: int) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        done = [json.loads(line) for line in lines]
        for night in range(len(done) + 1, nights + 1):
            done.append(self._night(night))
            print(f"night {night}: {done[-1]['decision']['verdict']}", flush=True)
            with self.log.open("a", encoding="utf-8") as out:
                out.write(json.dumps(done[-1]) + "\n")
        return done

    def _night(self, night: int) -> dict[str, Any]:
        started, before = time.time(), self._frozen()
        os.environ["LONGTAIL_LOGICAL_DATE"] = f"2026-01-{night:02}"
        self._arrive(night)
        for stage in STAGES:
            self._command(*self.argv[stage])
        self._command("python", "-m", "components.register")
        if self._command("python", "-m", "components.promote", "decide", allowed=(0, 4)) == 0:
            self._command("python", "-m", "components.promote", "apply", allowed=(0, 4))
        decision = json.loads((self.folder / "reports/decision.json").read_text(encoding="utf-8"))
        assigned = self._frozen()
        moved = before.index[before != assigned.reindex(before.index)]
        return {
            "night": night,
            "documents": assigned.value_counts().to_dict(),
            "labels": len(json.loads(self._path("frequencies/frequencies.json"))["labels"]),
            "moved": len(moved),
            "decision": decision,
            "minutes": round((time.time() - started) / 60, 1),
        }

    def _path(self, name: str) -> str:
        return (self.folder / "artifacts" / name).read_text(encoding="utf-8")

    def _frozen(self) -> pd.Series:
        path = self.folder / "artifacts/split/assignment.parquet"
        return read_assignment(path) if path.exists() else pd.Series(dtype=str)

    def _arrive(self, night: int) -> None:
        """Bring in tonight's portion through `ingest`."""
        new = self.folder / "new.parquet"
        write_corpus(self.corpus[self.portion == night - 1], new)
        self._command("python", "-m", "components.ingest", "parquet", str(new))
        clean = self.folder / "artifacts/validate/corpus.parquet"
        clean.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / "data/corpus.parquet", clean)
        laid = choices.read_choices(self.folder / "data" / choices.FILE)
        choices.write_choices(laid, clean.with_name("choices.json"))
        write_label_weights(clean.with_name("label_weights.parquet"), [])

    def _command(self, *argv: str, allowed: tuple[int, ...] = (0,)) -> int:
        command = [sys.executable, *argv[1:]]
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"$ {' '.join(argv)}\n")
            log.flush()
            done = subprocess.run(command, cwd=self.folder, stdout=log, stderr=log, check=False)
        if done.returncode not in allowed:
            raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}: {log.name}")
        return done.returncode


def _portion(group: str) -> int:
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % PORTIONS


def _merged(section: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    nested = {k: _merged(section[k], v) for k, v in values.items() if isinstance(v, dict)}
    return section | values | nested


def show(nights: list[dict[str, Any]]) -> Table:
    """The log of decisions, one row per night."""
    table = Table("night", "train / val / test", "labels", "F1 then", "F1 now", "difference")
    for name in ("verdict", "champion", "failed"):
        table.add_column(name)
    champion = "–"
    for night in nights:
        decision, sizes = night["decision"], night["documents"]
        gain = next(
            (r for r in decision["rules"] if r["rule"] == "gain" and r["limit"] is not None), None
        )
        if decision["verdict"] == "promoted":
            champion = decision["challenger"]["version"]
        failed = [
            f"{r['rule']} {r['slice']}" for r in decision["rules"] if r["verdict"] == "failed"
        ]
        own = decision["challenger"]["metrics"]
        mean_f1 = (own["micro_f1"] + own["macro_f1"]) / 2  # by which the gate decides
        table.add_row(
            str(night["night"]),
            " / ".join(f"{sizes[part]:,}" for part in ("train", "val", "test")),
            str(night["labels"]),
            f"{100 * gain['champion']:.1f}" if gain else "",
            f"{100 * (gain['challenger'] if gain else mean_f1):.1f}",
            _difference(gain) if gain and decision["verdict"] != "unchanged" else "",
            decision["verdict"],
            str(champion),
            ", ".join(dict.fromkeys(failed)),
        )
    return table


def _difference(gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return f"{100 * gain['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--nights", type=int, default=PORTIONS)
    arguments = parser.parse_args()
    found = Nights(arguments.workspace.resolve()).run(arguments.nights)
    Console(width=130).print(show(found))
