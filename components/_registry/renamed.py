"""A version that answers in the labels of today, whatever it learned; see `label_translation`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from components._formats.columns import listed
from components._registry.worker import Answer
from longtail.validation.label_history import Fates
from longtail.validation.label_translation import translation

OWN, CURRENT = "own", "current"
WORDS = (OWN, CURRENT)


class Answering(Protocol):
    """What answers: a version in its process, or a workspace's model in this one."""

    labels: list[str]
    thresholds: list[float]

    def ask(self, texts: Sequence[str], **params: float) -> Answer:
        """See `Served.ask`."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Renamed:
    """The same, with other labels; says on stderr which of them no current label stands for.

    Args:
        served: what answers.
        fates: what labels have become that are gone.
    """

    def __init__(self, served: Answering, fates: Fates) -> None:
        self._served = served
        self._translation = translation(served.labels, served.thresholds, fates)
        self.labels, self.thresholds = self._translation.labels, self._translation.thresholds
        if left_out := self._translation.left_out:
            print(
                f"The model's labels {listed(left_out)} were split or retired, so they are not in "
                "the answers (--labels own shows them).",
                file=sys.stderr,
            )

    @property
    def alive(self) -> bool:
        """Whether what answers is still there."""
        return bool(getattr(self._served, "alive", True))

    def ask(self, texts: Sequence[str], **params: float) -> Answer:
        """See `Served.ask`; a `threshold` is compared with the scores as they are shown."""
        threshold, top_k = params.get("threshold"), params.get("top_k")
        own = self._served.ask(texts, **({} if threshold is None else {"threshold": 0.0}))
        labels, scores = [], []
        for names, values in zip(own.labels, own.scores, strict=True):
            found, best = self._translation.answer(names, values)
            n_kept = len(best) if threshold is None else sum(s >= threshold for s in best)
            kept = slice(n_kept if top_k is None else min(n_kept, int(top_k)))
            labels.append(found[kept])
            scores.append(best[kept])
        return replace(own, labels=labels, scores=scores)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._served.__exit__(kind, error, trace)
