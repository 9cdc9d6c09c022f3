"""Add the incoming files to the data; refuse an empty one."""

import shutil
import sys
from pathlib import Path

assert sys.argv[1] == "jsonl"
for source in sorted(Path(sys.argv[2]).iterdir()):
    if not source.read_text().strip():
        print(f"ingest: {source} is empty; expected at least one line.", file=sys.stderr)
        sys.exit(3)
    shutil.copy(source, Path("data") / source.name)
