"""Queue the names of the pool's files; fail, or find nothing to do, if a file beside says so."""

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("inputs", type=Path, nargs="+")
parser.add_argument("--folder", type=Path, required=True)
parser.add_argument("--size", required=True)
given = parser.parse_args()
state = Path(os.environ["LONGTAIL_CACHE"]).parent
wish = (state / "wish").read_text() if (state / "wish").exists() else ""
if wish == "broken":
    print("refill: a bug.", file=sys.stderr)
    sys.exit(1)
if wish == "full":
    print("refill: nothing was queued.", file=sys.stderr)
    sys.exit(4)
target = given.folder / os.environ["LONGTAIL_LOGICAL_DATE"]
target.mkdir(parents=True)
(target / "queue.jsonl").write_text("".join(path.read_text() for path in given.inputs))
(target / "size").write_text(given.size)
