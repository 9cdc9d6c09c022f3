"""Loads the model from the folder that `train` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from longtail.errors import DataError

# Loaded with the first model: transformers takes seconds, and most commands load none.
if TYPE_CHECKING:
    from longtail.models import classifier


def load_model(folder: Path) -> classifier.Classifier:
    """The classifier in `folder`, in evaluation mode; see `longtail.models.classifier.Classifier`.

    Raises:
        DataError: the folder is not one that `train` wrote.
    """
    from longtail.models import classifier

    try:
        return classifier.load(folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{folder} is not a readable model folder ({reason}); expected the folder that "
            "`dvc repro train` writes (config.json, model.safetensors, tokenizer files)."
        ) from None
