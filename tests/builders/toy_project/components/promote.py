"""Promote every total up to a hundred; refuse the rest."""

import argparse
import json
import os
import sys
from pathlib import Path

state = Path(os.environ["LONGTAIL_CACHE"]).parent
if sys.argv[1] == "rollback":
    options = argparse.ArgumentParser()
    for name in ("--reason", "--from", "--to", "--approved-by", "--output"):
        options.add_argument(name)
    options.add_argument("--dry-run", action="store_true")
    given = options.parse_args(sys.argv[2:])
    if (state / "broken").exists() and not given.dry_run:
        print("promote: Version 1 does not answer as it should.", file=sys.stderr)
        sys.exit(3)
    if not given.dry_run:
        state.mkdir(parents=True, exist_ok=True)
        (state / "champion").write_text(" ".join(sys.argv[2:]))
    to = given.to or "1"
    plan = {"leave": "2", "to": to, "done": False, "reason": given.reason, "said": f"Back to {to}."}
    Path(given.output).write_text(json.dumps(plan))
    sys.exit(0)
wish = (state / "promote").read_text() if (state / "promote").exists() else "promoted"
total = json.loads(Path("artifacts/total.json").read_text())
if sys.argv[1] == "decide":
    verdict = "promoted" if total <= 100 else "refused"
    approval = {"yes": True, "no": False}.get(os.environ["LONGTAIL_APPROVAL"], False)
    hold = {"reason": "x"} if wish == "held" else None
    decision = {"verdict": verdict, "summary": "By its total.", "approval": approval, "hold": hold}
    Path("reports/decision.json").write_text(json.dumps(decision))
    Path("reports/decision.md").write_text(f"The total is {total}.\n")
    sys.exit(0 if verdict == "promoted" else 4)
if json.loads(Path("reports/decision.json").read_text())["verdict"] != "promoted":
    sys.exit(4)
outcome = {"outcome": wish, "why": f"It is {wish}.", "version": "2", "champion": "1"}
Path("reports/outcome.json").write_text(json.dumps(outcome))
if wish == "promoted":
    (state / "champion").write_text(str(total))
sys.exit(4 if wish == "refused" else 0)
