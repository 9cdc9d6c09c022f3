"""Promote every total up to a hundred; refuse the rest."""

import json
import os
import sys
from pathlib import Path

if sys.argv[1] == "rollback":
    (Path(os.environ["LONGTAIL_CACHE"]).parent / "champion").write_text(" ".join(sys.argv[2:]))
    sys.exit(0)
total = json.loads(Path("artifacts/total.json").read_text())
if sys.argv[1] == "decide":
    verdict = "promoted" if total <= 100 else "refused"
    Path("reports/decision.json").write_text(
        json.dumps({"verdict": verdict, "summary": "By its total."})
    )
    Path("reports/decision.md").write_text(f"The total is {total}.\n")
    sys.exit(0 if verdict == "promoted" else 4)
(Path(os.environ["LONGTAIL_CACHE"]).parent / "champion").write_text(str(total))
