"""In which order suspected documents are reviewed."""

from __future__ import annotations

from collections.abc import Sequence

from longtail.validation.label_errors import Suspect


def by_document(suspects: Sequence[Suspect]) -> dict[int, list[Suspect]]:
    """Group suspects by document, the worst first; the kinds take turns.

    The scores of two kinds have different units, so only the ranks within a kind compare.

    Args:
        suspects: those of one kind in the order of their rank, as `label_errors.suspects` gives
            them.

    Returns:
        Row of the document to its suspects, in the order in which documents should be reviewed.

    >>> found = by_document([Suspect("wrong", 7, 0, 9.0), Suspect("wrong", 5, 1, 8.0),
    ...                      Suspect("missing", 5, 2, 0.9)])
    >>> [(row, [s.kind for s in own]) for row, own in found.items()]
    [(7, ['wrong']), (5, ['missing', 'wrong'])]
    """
    kinds = dict.fromkeys(s.kind for s in suspects)
    ranked = [
        (rank, turn, s)
        for turn, kind in enumerate(kinds)
        for rank, s in enumerate(s for s in suspects if s.kind == kind)
    ]
    found: dict[int, list[Suspect]] = {}
    for *_, suspect in sorted(ranked, key=lambda item: item[:2]):
        found.setdefault(suspect.document, []).append(suspect)
    return found
