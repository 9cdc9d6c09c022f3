"""Installs the project's dependencies and those of the named extras, but not the project itself."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def requirements(extras: list[str]) -> list[str]:
    """The requirements in pyproject.toml, with those of these extras."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *optional]


def install(packages: list[str]) -> None:
    """Run pip with the versions of constraints.txt, and the index of the build arguments if set.

    What is installed is compiled, on all cores: a container cannot keep what it compiles, and would
    do so at every start.
    """
    index = [argument for flag, name in (("--index-url", "INDEX_URL"),
                                     ("--extra-index-url", "EXTRA_INDEX_URL"))
             if os.environ.get(name) for argument in (flag, os.environ[name])]  # fmt: skip
    pip = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-compile", "--quiet"]
    pip += ["--disable-pip-version-check", "--constraint", str(HERE / "constraints.txt")]
    subprocess.run([*pip, *index, *packages], check=True)
    compileall = [sys.executable, "-m", "compileall", "-qq", "-j", "0"]
    # Unchecked, since some packages hold files of other Pythons, which pip passes over as well.
    subprocess.run([*compileall, sysconfig.get_path("purelib")], check=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help="extras of pyproject.toml")
    parser.add_argument("--with", dest="more", nargs="+", default=[], help="additional packages")
    parser.add_argument("--only", nargs="+", help="these packages, and none of the project's")
    args = parser.parse_args()
    install(args.only or [*requirements(args.extras), *args.more])
