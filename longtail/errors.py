"""The errors that mean a user's mistake, not a bug; components turn each into an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParameterError(ValueError):
    """A parameter is out of range, misspelt, or does not fit the data (exit code 2)."""


class DataError(ValueError):
    """The data breaks the contract: says what, where, expected, got, what to do (exit code 3)."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> ParameterError:
    """The error for a misspelt name: lists the valid ones and guesses the one that was meant."""
    options = sorted(valid)
    guess = difflib.get_close_matches(name, options, n=1)
    hint = f" Did you mean {guess[0]!r}?" if guess else ""
    return ParameterError(f"Unknown {kind} {name!r}.{hint} Valid: {', '.join(options)}.")
