"""Add the incoming files to the data; reject an empty one."""

import argparse
import shutil
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("format", choices=["jsonl"], nargs="?")
parser.add_argument("paths", type=Path, nargs="*")
parser.add_argument("--update", action="store_true")
parser.add_argument("--assignment")
parser.add_argument("--freeze", action="store_true")
parser.add_argument("--forgotten", type=Path)
for source in parser.parse_args().paths:
    if not source.read_text().strip():
        print(f"ingest: {source} is empty; expected at least one line.", file=sys.stderr)
        sys.exit(3)
    (Path("data") / source.name).unlink(missing_ok=True)  # it may be a link into the cache
    shutil.copy(source, Path("data") / source.name)
