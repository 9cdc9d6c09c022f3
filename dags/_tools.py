"""Runs git and DVC, and fetches data by the repository's DVC settings and the shared cache."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDERS = ("data", "artifacts", "reports")


class WorkspaceError(Exception):
    """The run cannot continue; the message is one sentence for the person on call."""


class ToolError(WorkspaceError):
    """git or DVC failed (disk full, no network, a lock); a retry may help."""


def command(argv: Sequence[str], cwd: Path, *, check: bool = True) -> str:
    """Run a git or DVC command and return its output.

    Raises:
        ToolError: It failed; the message quotes its error output.
    """
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_TERMINAL_PROMPT": "0"}
    for name, role in (("NAME", "longtail nightly"), ("EMAIL", "nightly@longtail.invalid")):
        env.setdefault(f"GIT_AUTHOR_{name}", role)
        env.setdefault(f"GIT_COMMITTER_{name}", role)
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    if check and done.returncode:
        shown = " ".join(argument for argument in argv if argument != sys.executable)
        reason = done.stderr.partition("\nHaving any troubles?")[0].strip()[-800:]
        raise ToolError(f"`{shown}` failed in {cwd}: {reason}")
    return done.stdout.strip()


def git(cwd: Path, *argv: str, check: bool = True) -> str:
    return command(["git", *argv], cwd, check=check)


def dvc(cwd: Path, *argv: str) -> str:
    """Run a DVC command, without `--quiet`, which would hide its reason for failing."""
    return command([sys.executable, "-m", "dvc", *argv], cwd)


def commit_of(cwd: Path, revision: str) -> str | None:
    """The commit that `revision` names, None if it names none."""
    found = git(cwd, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
    return found or None


def fetch_data(repo: Path, folder: Path) -> None:
    """Fetch data and outputs from the shared cache, and from the remote if there is one.

    Raises:
        WorkspaceError: There is no remote, and the cache lacks the data.
        ToolError: The data did not come from the remote; the message has DVC's reason.
    """
    write_dvc_settings(repo, folder)
    remote = has_remote(folder)
    if (folder / "data.dvc").exists():
        try:
            dvc(folder, "checkout", "--force", "data.dvc")
        except ToolError as error:
            if not remote:
                raise WorkspaceError(
                    f"DVC's cache {cache_of(repo)} lacks the data that data.dvc names; set a DVC "
                    f"remote that has them, or restore the cache. {error}"
                ) from None
            dvc(folder, "pull", "--force", "data.dvc")
    # Missing outputs are computed again.
    dvc(folder, "pull" if remote else "checkout", "--force", "--allow-missing")
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)


def cache_of(repo: Path) -> Path:
    """The DVC cache that all runs share."""
    return Path(os.environ.get("LONGTAIL_DVC_CACHE", repo / ".dvc" / "cache"))


def write_dvc_settings(repo: Path, folder: Path) -> None:
    """Write local DVC settings: the repository's, and the shared cache, by hard links if it can be.

    A linked file is the cache's own, so nothing may write into it: stages move whole files into
    place, and DVC makes the links read-only.
    """
    config = configparser.ConfigParser(interpolation=None)
    config.read(repo / ".dvc" / "config.local", encoding="utf-8")
    kinds = os.environ.get("LONGTAIL_LINKS", "hardlink,copy")
    config.read_dict({"cache": {"dir": str(cache_of(repo)), "type": kinds}})
    # It may hold credentials.
    with open(folder / ".dvc" / "config.local", "w", encoding="utf-8",
              opener=lambda path, flags: os.open(path, flags, 0o600)) as file:  # fmt: skip
        config.write(file)


def has_remote(folder: Path) -> bool:
    """Whether DVC's settings, shared or local, name a default remote."""
    return _dvc_settings(folder).has_option("core", "remote")


def remote_options(folder: Path) -> dict[str, str]:
    """The options of that remote, which may hold secrets; none if they are set elsewhere."""
    config = _dvc_settings(folder)
    section = f"'remote \"{config.get('core', 'remote', fallback='')}\"'"
    return dict(config[section]) if config.has_section(section) else {}


def _dvc_settings(folder: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read([folder / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
    return config
