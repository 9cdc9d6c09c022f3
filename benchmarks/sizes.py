"""Time and peak memory of real stages on a synthetic corpus of any size.

`python -m benchmarks.sizes FOLDER DOCS LABELS [STAGE…]` runs the named stages (all of them by
default) in FOLDER, in the order of dvc.yaml and with the parameters of params.yaml, and leaves
`times.csv` there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.scale import ROOT, measured
from components._frame.pipeline import load_stages


def main(folder: Path, docs: str, labels: str, *wanted: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    print("stage,seconds,CPU seconds,peak GiB")
    run = [sys.executable, "-m"]
    corpus = ["components.ingest", "synthetic", "--docs", docs, "--labels", labels]
    measured("ingest", [*run, *corpus], folder)
    for stage in load_stages(ROOT / "dvc.yaml"):
        if stage.name in wanted or not wanted:
            measured(stage.name, [*run, *stage.argv[2:]], folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
