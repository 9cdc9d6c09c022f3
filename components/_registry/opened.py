"""Opens the model of a registry address, of an MLflow model folder, or of `train`'s folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from components._formats.labels_file import FILE, read_allowed
from components._registry import client as registry
from components._registry import trust
from components._registry.evidence import BASELINE, THRESHOLDS
from components._registry.renamed import CURRENT, OWN, Answering, Renamed
from components._registry.worker import Answer, Served
from longtail.errors import DataError

REGISTERED = ("models:/", "runs:/")


class Workspace:
    """A model folder that `train` wrote, served in this process with the tuned thresholds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Raise DataError if there is no such model."""
        for path in (self.folder, THRESHOLDS):
            if not path.exists():
                raise DataError(f"{path} does not exist; run `dvc repro` or pass another --model.")
        if not (self.folder / "config.json").is_file():
            raise DataError(
                f"{self.folder} is no model: expected a folder that `train` wrote, a folder with "
                "an MLmodel file, or a registry URI (models:/NAME@ALIAS)."
            )

    def __enter__(self) -> Workspace:
        from components._registry.serving import LongtailModel

        self.check()
        paths = {"model": self.folder, "thresholds": THRESHOLDS, "baseline": BASELINE}
        for path in paths.values():
            trust.check_lock(path)
        self.model = LongtailModel()
        self.model.load_context(SimpleNamespace(artifacts=paths))
        self.labels, self.thresholds = self.model.labels, self.model.thresholds.tolist()
        return self

    def __exit__(self, *_: object) -> None:
        del self.model

    def ask(self, texts: Sequence[str], **options: float) -> Answer:
        """See `Served.ask`."""
        found = self.model.predict(None, pd.DataFrame({"text": texts}), options)
        return Answer(found["labels"].tolist(), found["scores"].tolist(), 0.0, 0.0)


@contextmanager
def opened(model: str, words: str = OWN) -> Iterator[Answering]:
    """The model of a registry URI, of an MLflow model folder, or of `train`'s model folder.

    Args:
        model: its URI or path.
        words: `own` for the labels that it learned, `current` for those of today by the history in
            data/labels.yaml.
    """
    fates = read_allowed(FILE).fates if words == CURRENT else {}
    with _found(model) as served:
        yield Renamed(served, fates) if words == CURRENT else served


def _found(model: str) -> Served | Workspace:
    if model.startswith(REGISTERED):
        registry.connect()
        return Served(model)
    folder = Path(model)
    return Served(str(folder.resolve())) if _packed(folder) else Workspace(folder)


def located(model: str) -> str:
    """What `opened` should open, also if an alias moves meanwhile.

    Raises:
        DataError, TemporaryError, ParameterError: as `trust.fetch`, or there is no such model.
    """
    if model.startswith(REGISTERED):
        registry.connect()
        return trust.identified(model)[0]
    if not _packed(Path(model)):
        Workspace(Path(model)).check()
    return model


def identified(model: str) -> tuple[str, str]:
    """The same, and the digest of its files.

    Raises:
        DataError, TemporaryError, ParameterError: as `located`.
    """
    if model.startswith(REGISTERED):
        registry.connect()
        return trust.identified(model)
    folders = [Path(located(model))]
    if not _packed(folders[0]):
        folders += [THRESHOLDS.parent, BASELINE]
    return model, trust.digest("".join(trust.listing(folder) for folder in folders))


def _packed(folder: Path) -> bool:
    try:
        return (folder / "MLmodel").exists()
    except OSError as error:  # a name that no file can have
        raise DataError(f"--model: {folder!s:.80} is no folder ({error.strerror}).") from None
