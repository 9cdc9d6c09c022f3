"""Heads that were trained before, each in a file named by a digest of what it was made from."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import platform
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import longtail
from components._frame.scratch import cache_folder, scratch
from components._train.features import code_digest
from longtail.evaluation.sparse_scores import ScoreMatrix, SparseScores
from longtail.models.classifier import Head
from longtail.models.heads import Fitted
from longtail.models.precision import computes_bf16

# With more than this, the folder loses its files, those not asked for the longest first.
MOST_BYTES = 2**30
# What is larger is not kept.
LARGEST = MOST_BYTES // 4
LONGTAIL = Path(longtail.__file__).parent


class HeadStore:
    """What `cross_fit` has trained. It may lose what it was given, but never returns anything else.

    Each file has a digest, so a damaged or foreign one is not believed, and PyTorch reads it
    without running code. Where nothing can be written, as on a full disk, nothing is kept.

    Args:
        folder: of the files; its name is a digest of what a head depends on besides what
            `cross_fit` is given.

    Attributes:
        counts: of heads that were `known` and that were `put`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.usable = folder, True
        self.counts: Counter[str] = Counter()

    @classmethod
    def cached(cls, device: str) -> HeadStore:
        """The store in the cache folder, of heads that this code trains on this device."""
        facts = {
            "device": [device, computes_bf16(device), _processor(device)],
            # Of longtail all that trains and scores heads, and of this room what keeps them.
            "code": [code_digest(folder) for folder in (LONGTAIL, Path(__file__).parent)],
        }
        try:
            return cls(scratch("heads", facts, ()))
        except OSError as error:
            without = cls(cache_folder() / "heads")
            without._give_up(error)
            return without

    def known(self, key: str) -> Fitted | None:
        """What was put under this key, if it is still there."""
        path = self.folder / key
        try:
            if not path.is_file() or path.stat().st_size > 2 * LARGEST:
                return None
            kept = path.read_bytes()
            with suppress(OSError):  # a cache that is only read
                os.utime(path)
        except OSError:
            return None
        data = kept[hashlib.blake2b().digest_size :]
        if kept != _sealed(path, data):
            return None
        try:
            found = _unpacked(torch.load(io.BytesIO(data), weights_only=True))
        except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, ValueError):
            return None  # of somebody who knows how to seal
        self.counts["known"] += 1
        return found

    def put(self, key: str, fitted: Fitted) -> None:
        """Keep a round, unless it is too large, or no numbers."""
        self.counts["put"] += 1
        # Told before a copy is made.
        large = _values(fitted.scores).nbytes > LARGEST
        if not self.usable or large or not _finite(fitted):
            return
        path = self.folder / key
        data = io.BytesIO()
        torch.save(_packed(fitted), data)
        if data.tell() > LARGEST:
            return
        temporary = path.with_name(f"{key}.{os.getpid()}")
        try:
            temporary.write_bytes(_sealed(path, data.getvalue()))
            os.replace(temporary, path)
            self._forget_oldest()
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.usable = False
        print(f"{self.folder} cannot be written ({error}); what is trained is not kept.")

    def _forget_oldest(self) -> None:
        """Also what a killed run left half-written, in its turn."""
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another run forgets, too
                files.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= MOST_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= size


def _sealed(path: Path, data: bytes) -> bytes:
    name = f"{path.parent.name}/{path.name}"
    return hashlib.blake2b(name.encode() + data).digest() + data


def _packed(fitted: Fitted) -> dict[str, Any]:
    head, scores = fitted.head, fitted.scores
    arrays = asdict(scores) if isinstance(scores, SparseScores) else {"dense": scores}
    return {
        "head": None if head is None else {"arguments": head.arguments, "state": head.state_dict()},
        "scores": {name: torch.tensor(array) for name, array in arrays.items()},
        "history": fitted.history,
    }


def _unpacked(kept: dict[str, Any]) -> Fitted:
    head = None
    if kept["head"] is not None:
        head = Head(*kept["head"]["arguments"])
        head.load_state_dict(kept["head"]["state"])
        head.eval()  # as one that has scored
    arrays = {name: tensor.numpy() for name, tensor in kept["scores"].items()}
    scores = arrays["dense"] if "dense" in arrays else SparseScores(**arrays)
    return Fitted(head, scores, kept["history"])


def _finite(fitted: Fitted) -> bool:
    weights = [] if fitted.head is None else fitted.head.parameters()
    finite = bool(np.isfinite(_values(fitted.scores)).all())
    return finite and all(bool(tensor.isfinite().all()) for tensor in weights)


def _values(scores: ScoreMatrix) -> np.ndarray:
    return scores.values if isinstance(scores, SparseScores) else scores


def _processor(device: str) -> str:
    """What sums are computed by, whose last digits differ."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
