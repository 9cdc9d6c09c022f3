"""The exit codes of stages and commands, and the errors that have a code of their own."""

from __future__ import annotations

OK, BUG, BAD_PARAMETERS, BAD_DATA, GATE_NOT_PASSED, TEMPORARY = 0, 1, 2, 3, 4, 75


class GateNotPassed(Exception):  # noqa: N818 - a decision, not an error
    """The candidate was refused: a result, reported by its own exit code."""


class TemporaryError(Exception):
    """Something outside is unavailable for now (tracking server, disk space): retry later."""
