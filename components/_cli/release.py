"""Register, decide and apply in one process: what `make run` does after the stages.

MLflow alone takes seconds to import; three processes would pay that three times.
"""

from __future__ import annotations

from components import promote, register
from components._frame.component import guarded


def run() -> None:
    """As the three commands one after another; a refusal ends with exit code 4."""
    register.run()
    for command in ("decide", "apply"):
        arguments = promote.parser().parse_args([command])
        arguments.action(arguments)


if __name__ == "__main__":
    guarded("release", run)
