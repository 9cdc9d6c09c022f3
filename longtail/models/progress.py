"""Reports the progress of long work through a callback instead of bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]  # (done, total); done rises from call to call


def silent(done: int, total: int) -> None:
    """Report nothing: the default of every function that takes a `Progress`."""


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers from drawing bars of its own, which take a tenth of a second."""
    from transformers.utils import logging  # here, because the linear model does not need it

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
