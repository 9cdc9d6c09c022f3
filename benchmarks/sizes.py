"""Time and peak memory of real stages on a synthetic corpus of any size.

`python -m benchmarks.sizes FOLDER DOCS LABELS [STAGE…] [SECTION.NAME=VALUE…]` runs the named stages
(all of them by default) in FOLDER, in the order of dvc.yaml and with the parameters of params.yaml
but for those named, and leaves `times.csv` there. `train.encoder=hashed` takes the stand-in of
`benchmarks.hashed_encoder`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.scale import ROOT, measured
from components._frame.pipeline import load_stages

HASHED = "train.encoder=hashed"


def settings(own: list[str]) -> dict[str, Any]:
    """The parameters, with some of them changed."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for setting in own:
        path, value = setting.split("=", 1)
        *sections, name = path.split(".")
        section = params
        for one in sections:
            section = section.get(one, {})
        assert name in section, f"params.yaml has no {path}"
        section[name] = yaml.safe_load(value)
    return params


def main(folder: Path, docs: str, labels: str, *others: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    own = [other for other in others if "=" in other]
    wanted = [other for other in others if "=" not in other]
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(settings(own), sort_keys=False), encoding="utf-8")
    print("stage,seconds,CPU seconds,peak GiB")
    run = [sys.executable, "-m"]
    corpus = ["components.ingest", "synthetic", "--docs", docs, "--labels", labels]
    measured("ingest", [*run, *corpus], folder)
    if HASHED in own:
        encoder = ["benchmarks.hashed_encoder", "hashed", "data/corpus.parquet"]
        measured("(encoder)", [*run, *encoder], folder)
    for stage in load_stages(ROOT / "dvc.yaml"):
        if stage.name in wanted or not wanted:
            measured(stage.name, [*run, *stage.argv[2:]], folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
