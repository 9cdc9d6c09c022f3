"""Becomes the command of a stage: `python -m components._frame.stage NAME` in a project's folder.

For what starts a stage from outside and cannot read `dvc.yaml`, such as Kubeflow Trainer.
"""

from __future__ import annotations

import os
import sys

from components._frame.exit_codes import BAD_PARAMETERS, ProjectError
from components._frame.pipeline import load_stages


def command_of(name: str) -> tuple[str, ...]:
    """What an orchestrator runs for the stage.

    Raises:
        ProjectError: `dvc.yaml` has no such stage.
    """
    commands = {stage.name: stage.command for stage in load_stages()}
    if name not in commands:
        raise ProjectError(f"dvc.yaml has no stage {name!r}; it has {', '.join(commands)}.")
    return commands[name]


def main() -> None:
    """Become the command of the stage that the command line names."""
    try:
        command = command_of(" ".join(sys.argv[1:]))
        os.execvp(command[0], command)
    except ProjectError as error:
        print(error, file=sys.stderr)
    except FileNotFoundError:
        print(f"{command[0]} is not in the folders of PATH.", file=sys.stderr)
    sys.exit(BAD_PARAMETERS)


if __name__ == "__main__":
    main()
