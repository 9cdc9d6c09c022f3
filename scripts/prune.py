"""Shows, or removes with `--apply`, what the nightly run no longer needs (`make prune`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from dags import _retention
from dags._settings import Settings, load_settings
from dags._tools import ToolError
from scripts import standalone


def registry(settings: Settings, flags: list[str]) -> list[str]:
    """Run `longtail prune` on the nights' store, and return the records that are needed."""
    own = {"LONGTAIL_CACHE": f"{settings.state}/cache", "PYTHONPATH": str(standalone.ROOT)}
    env = {**os.environ, **settings.store, **own}
    with tempfile.TemporaryDirectory(prefix="longtail-prune-") as folder:
        needed = Path(folder) / "needed.json"
        # -P: the code is this checkout's, whichever the nights run.
        argv = [sys.executable, "-P", "-m", "components._cli.prune", *flags]
        argv += ["--needed", str(needed)]
        subprocess.run(argv, cwd=settings.repo, env=env, check=True)
        found: list[str] = json.loads(needed.read_text("utf-8"))
    return found


def nights(settings: Settings, needed: list[str], apply: bool) -> None:
    """Show, and remove if asked to, old nights, their data, and old workspaces."""
    from components._cli.prune import table  # after the environment is set, which MLflow reads

    with _retention.using_cache(settings.home, alone=True):
        found = _retention.old(settings, needed)
        title = "Nights, removed" if apply else "Nights, to remove (APPLY=1)"
        Console().print(table(_retention.removals(settings, found), title))
        if apply:
            _retention.remove(settings, found)


def main() -> None:
    """Show it; `--apply` removes it."""
    if unknown := set(sys.argv[1:]) - {"--apply"}:
        sys.exit(f"prune: unknown argument {unknown.pop()!r}; expected --apply or nothing.")
    os.environ.update(standalone.environment())
    settings = load_settings()
    try:
        needed = registry(settings, sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # it has said what was wrong
    try:
        nights(settings, needed, "--apply" in sys.argv)
    except ToolError as error:
        sys.exit(f"prune: {error}")


if __name__ == "__main__":
    main()
