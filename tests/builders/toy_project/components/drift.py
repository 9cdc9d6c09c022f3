"""Raise an alarm, fail or be away if a file beside the store says so; else find nothing."""

import json
import os
import sys
from pathlib import Path

state = Path(os.environ["LONGTAIL_CACHE"]).parent
wish = state / "drift"
wish = wish.read_text() if wish.exists() else ""
if wish == "broken":
    print("drift: a bug.", file=sys.stderr)
    sys.exit(1)
alarms = ["Words have moved.", "The score is low."] if wish == "alarm" else []
Path("reports/drift.json").write_text(json.dumps({"alarms": alarms}))
sys.exit(4 if alarms else 0)
