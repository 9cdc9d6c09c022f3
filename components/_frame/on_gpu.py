"""Runs a command only where PyTorch sees N GPUs: `python -m components._frame.on_gpu N COMMAND …`.

An orchestrator puts it before a stage whose `meta` in dvc.yaml says `gpus: N`. Without it, the
profile `auto` would quietly train a head on a frozen encoder on the CPU.
"""

from __future__ import annotations

import os
import sys

from components._frame.exit_codes import BAD_PARAMETERS
from longtail.errors import ParameterError


def check_gpus(what: str, n: int) -> None:
    """Check that PyTorch sees at least `n` GPUs.

    Raises:
        ParameterError: it sees fewer.
    """
    try:
        import torch
    except ModuleNotFoundError:
        seen = "PyTorch is not installed here"
    else:
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found >= n:
            return
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        seen = f"PyTorch {torch.__version__}, built {built}, sees {found or 'none'}"
    needed = "a GPU" if n == 1 else f"{n} GPUs"
    raise ParameterError(
        f"{what} needs {needed} (`gpus: {n}` in dvc.yaml), but {seen}. Check nvidia-smi, "
        "CUDA_VISIBLE_DEVICES, and how PyTorch was installed, or take `gpus` out to train on the "
        "CPU."
    )


def main() -> None:
    """Check, then become the command."""
    n, *argv = sys.argv[1:]
    try:
        check_gpus(" ".join(argv[:3]), int(n))
    except ParameterError as error:
        print(error, file=sys.stderr)
        sys.exit(BAD_PARAMETERS)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
