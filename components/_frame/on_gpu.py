"""Runs a command only where PyTorch sees a GPU: `python -m components._frame.on_gpu COMMAND …`.

An orchestrator puts it before a stage whose `meta` in dvc.yaml says `gpu: true`. Without it, the
profile `auto` would quietly train a head on a frozen encoder on the CPU.
"""

from __future__ import annotations

import os
import sys

from components._frame.exit_codes import BAD_PARAMETERS
from longtail.errors import ParameterError


def check_gpu(what: str) -> None:
    """Check that PyTorch sees a GPU.

    Raises:
        ParameterError: it sees none.
    """
    try:
        import torch
    except ModuleNotFoundError:
        seen = "PyTorch is not installed here"
    else:
        if torch.cuda.is_available():
            return
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        seen = f"PyTorch {torch.__version__}, built {built}, sees none"
    raise ParameterError(
        f"{what} needs a GPU (`gpu: true` in dvc.yaml), but {seen}. Check nvidia-smi, "
        "CUDA_VISIBLE_DEVICES, and how PyTorch was installed, or take `gpu: true` out to train on "
        "the CPU."
    )


def main() -> None:
    """Check, then become the command."""
    argv = sys.argv[1:]
    try:
        check_gpu(" ".join(argv[:3]))
    except ParameterError as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_PARAMETERS)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
