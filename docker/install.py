"""Installs the project's dependencies of the named extras, without the project (used in images)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def requirements(extras: list[str]) -> list[str]:
    """What pyproject.toml asks for with these extras."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *wanted]


def install(packages: list[str]) -> None:
    """pip, at the versions of constraints.txt; the index from the build's arguments if given."""
    index = [word for flag, name in (("--index-url", "INDEX_URL"),
                                     ("--extra-index-url", "EXTRA_INDEX_URL"))
             if os.environ.get(name) for word in (flag, os.environ[name])]  # fmt: skip
    pip = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-compile", "--quiet"]
    pip += ["--disable-pip-version-check", "--constraint", str(HERE / "constraints.txt")]
    subprocess.run([*pip, *index, *packages], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help="extras of pyproject.toml")
    parser.add_argument("--with", dest="more", nargs="+", default=[], help="further packages")
    parser.add_argument("--only", nargs="+", help="these packages and nothing of the project")
    given = parser.parse_args()
    install(given.only or [*requirements(given.extras), *given.more])
