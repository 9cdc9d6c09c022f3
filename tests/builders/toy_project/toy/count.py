"""Count the lines of every file of the data."""

import json
import sys
from pathlib import Path

import yaml

weight = yaml.safe_load(Path("params.yaml").read_text())["count"]["weight"]
data, counts = Path(sys.argv[2]), Path(sys.argv[4])
counts.parent.mkdir(exist_ok=True)
found = {p.name: weight * len(p.read_text().splitlines()) for p in sorted(data.glob("*.jsonl"))}
counts.unlink(missing_ok=True)  # it may be a link into the cache
counts.write_text(json.dumps(found))
