"""What a stage used when it last ran here: seconds, memory, disk (`reports/usage/<stage>.json`)."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("reports/usage")


@contextmanager
def measured(stage: str, outputs: Iterable[Path]) -> Iterator[None]:
    """Measure what the block uses and, if it succeeds, write it down.

    `seconds` is elapsed time; `memory_bytes` the largest resident memory of this process;
    `gpu_memory_bytes` what torch had allocated at most, where it uses CUDA;
    `output_bytes` the size of the outputs.
    """
    started = time.monotonic()
    yield
    used = {
        "seconds": round(time.monotonic() - started, 3),
        "memory_bytes": _peak_memory(),
        "output_bytes": sum(map(_size, outputs)),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        used["gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    FOLDER.mkdir(parents=True, exist_ok=True)
    new = FOLDER / f".{stage}.json"
    new.write_text(json.dumps(used) + "\n", encoding="utf-8")
    new.replace(FOLDER / f"{stage}.json")


def read_usage(folder: Path = FOLDER) -> dict[str, dict[str, float]]:
    """What each stage used, by its name; only of stages that ran in this folder."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[!.]*.json"))
    }


def _peak_memory() -> int:
    # Not `getrusage`, whose maximum a process inherits from the one that has started it.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
