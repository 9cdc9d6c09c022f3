"""Guards cells that a spreadsheet would run as a formula, and restores them."""

from __future__ import annotations

# What a spreadsheet reads as the start of a formula, and the apostrophe itself, so that `original`
# can undo the guard.
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def harmless(cell: str) -> str:
    """Put an apostrophe before `cell` if a spreadsheet could run it.

    >>> harmless("=1+1"), harmless("plain")
    ("'=1+1", 'plain')
    """
    return "'" + cell if cell.startswith(_STARTS) else cell


def original(cell: str) -> str:
    """The cell that `harmless` was given.

    >>> original(harmless("=1+1")), original(harmless("'quoted"))
    ('=1+1', "'quoted")
    """
    return cell[1:] if cell.startswith("'") else cell
