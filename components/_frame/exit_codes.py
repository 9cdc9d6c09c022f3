"""The exit codes of stages and commands, and the errors that have their own code."""

from __future__ import annotations

OK, BUG, BAD_PARAMETERS, BAD_DATA, GATE_NOT_PASSED, TEMPORARY = 0, 1, 2, 3, 4, 75


class GateNotPassed(Exception):  # noqa: N818 - a decision, not an error
    """A check said no: a result, not an error, reported by its own exit code."""


class TemporaryError(Exception):
    """Something external is unavailable for now (tracking server, disk space): retry later."""


class ProjectError(ValueError):
    """A file of the project itself, such as dvc.yaml, is missing or broken."""
