"""Cells that no spreadsheet takes for a formula, and back."""

from __future__ import annotations

# What spreadsheets take as the start of a formula, and the apostrophe itself, so that `original`
# can undo it.
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def harmless(cell: str) -> str:
    """`cell` with an apostrophe before it where a spreadsheet could run it."""
    return "'" + cell if cell.startswith(_STARTS) else cell


def original(cell: str) -> str:
    """What `harmless` was given."""
    return cell[1:] if cell.startswith("'") else cell
