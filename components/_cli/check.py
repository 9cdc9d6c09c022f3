"""Check all of params.yaml at once, before anything runs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click
import yaml

from components._frame.launch import CONTEXT, launch
from components._frame.params import PARAMS_FILE, load_sections
from longtail.errors import ParameterError, unknown_name

# Section: the module with its `Params`. A test compares them with the stages and commands.
SECTIONS = {
    "validate": "components.validate",
    "split": "components.split",
    "frequencies": "components.frequencies",
    "baseline": "components.baseline",
    "train": "components._train.params",
    "thresholds": "components._thresholds_params",
    "report": "components.report",
    "register": "components.register",
    "promote": "components._registry.rules",
    "predict": "components.predict",
    "drift": "components.drift",
}


def check(path: Path = PARAMS_FILE) -> None:
    """Validate every section, and refuse sections that nothing reads.

    Raises:
        ParameterError: the file is missing or has errors; all are reported together.
    """
    wrong = []
    try:
        load_sections(
            {name: (name, import_module(module).Params) for name, module in SECTIONS.items()}, path
        )
    except ParameterError as error:
        wrong.append(str(error))
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        document = None  # said above
    if isinstance(document, dict):
        unknown = [str(name) for name in document if name not in SECTIONS]
        wrong += [f"{path}: {unknown_name('section', name, SECTIONS)}" for name in unknown]
    if wrong:
        raise ParameterError("\n".join(wrong))


@click.command("check", context_settings=CONTEXT, help=__doc__)
def command() -> None:
    """Say that the file is right, or everything that is wrong with it (exit code 2)."""
    check()
    print(f"{PARAMS_FILE}: all {len(SECTIONS)} sections are valid.")


if __name__ == "__main__":
    launch(command)
