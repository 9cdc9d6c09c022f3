"""The errors that mean a user's mistake, not a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParameterError(ValueError):
    """A parameter is out of range, misspelled, or does not fit the data."""


class DataError(ValueError):
    """The data breaks the contract: the message says what, where, and what was expected."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> ParameterError:
    """The error for an unknown name: lists the valid ones and guesses which one was meant.

    >>> unknown_name("loss", "foccal", ["bce", "focal"])
    ParameterError("Unknown loss 'foccal'. Did you mean 'focal'? Valid: bce, focal.")
    """
    options = sorted(valid)
    guess = difflib.get_close_matches(str(name), options, n=1)
    hint = f" Did you mean {guess[0]!r}?" if guess else ""
    return ParameterError(f"Unknown {kind} {name!r:.60}.{hint} Valid: {', '.join(options)}.")
