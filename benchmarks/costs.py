"""What nights and predictions cost on rented machines, on paper: measured rates times sizes.

    python -m benchmarks.costs

Nothing is run. A rate is carried on in proportion from the size at which it was measured; what
grows otherwise at the sizes shown is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.sizes import settings

# List prices on demand, Linux, us-east-1, June 2026: an eighth of m7i.2xlarge (8 vcpus, 32 GiB),
# g5.xlarge (one A10G, 24 GB).
VCPU_HOUR, GPU_HOUR = 0.4032 / 8, 1.006
# The default corpus, and of the head of params.yaml numbers per document, units, and prototypes.
DOCS, LABELS = 12_619, 393
FEATURES, HIDDEN, PROTOTYPE = 1536, 512, 768
LEARNED = 0.8  # share of the documents in train and val
PARAMS = settings([])
NEGATIVES = PARAMS["baseline"]["negatives"]
MOST_LABELS = PARAMS["train"]["head"]["negatives"] + 300  # of a batch: and its documents' own
GPU_FLOPS = 15e12  # of an A10G in bf16, a fifth of its peak: an assumption
FLOPS_PER_DOC = 2 * 10.6e6 * 85  # MiniLM's layers, 85 tokens


@dataclass(frozen=True)
class Size:
    """Labeled documents, labels, and how many documents a night brings.

    >>> Size(12_619, 393, 100).relative
    1.0
    """

    docs: int
    labels: int
    new: int

    @property
    def relative(self) -> float:
        """Documents times labels, of the default corpus's."""
        return self.docs * self.labels / (DOCS * LABELS)

    @property
    def head(self) -> float:
        """The products of a head, of the default corpus's."""
        return self.docs * _products(self.labels) / (DOCS * _products(LABELS))


def _products(labels: int) -> int:
    return FEATURES * HIDDEN + (HIDDEN + PROTOTYPE) * min(labels, MOST_LABELS)


def _large(seconds: float, power: float = 1.0) -> Callable[[Size], float]:
    """What took so many seconds with 1,000,000 × 18,000 (scaling.md), for other documents."""
    return lambda size: seconds * (size.docs / 1e6) ** power


def _baseline(size: Size) -> float:
    """Six fits per label, from all negatives up to as many as params.yaml says."""
    return 41 * size.relative if size.docs <= NEGATIVES else 6 * _large(549)(size)


# Vcpu seconds of a night that keeps its choices; measured on the default corpus (speed.md) or with
# 1,000,000 × 18,000. The search for neighbors in `validate` grows with the power of 1.5.
STAGES: dict[str, Callable[[Size], float]] = {
    "`validate`": lambda size: 31 + _large(1_109, 1.5)(size),
    "`split`": _large(59),
    "`baseline`, six fits per label": _baseline,
    "features of new texts": lambda size: size.new / 22,
    "six heads": lambda size: 6 * 34 * size.head,
    "`thresholds`": _large(492),
    "`report`": lambda size: 64 + _large(731)(size),
}
SIZES = (Size(100_000, 2_000, 1_000), Size(1_000_000, 18_000, 10_000),
         Size(10_000_000, 18_000, 100_000))  # fmt: skip
# Texts per vcpu second of a served version (serving.md), on AVX-512.
SERVED = {"ONNX Runtime": 59.0, "ONNX Runtime, int8": 125.0}
PREDICTIONS = 1e9


def nights() -> str:
    """Vcpu hours of each stage, the bill, and memory."""
    rows = [["", *(f"{size.docs:,} × {size.labels:,}, {size.new:,} new" for size in SIZES)]]
    rows += [["---", *["---:"] * len(SIZES)]]
    rows += [[name, *(_hours(part(size)) for size in SIZES)] for name, part in STAGES.items()]
    totals = [sum(part(size) for part in STAGES.values()) for size in SIZES]
    rows += [["**all, vcpu hours**", *(f"**{_hours(total)}**" for total in totals)]]
    rows += [["dollars", *(f"{total / 3600 * VCPU_HOUR:,.2f}" for total in totals)]]
    gpu = [6 * 16 * 6 * LEARNED * size.docs * _products(size.labels) / GPU_FLOPS for size in SIZES]
    rows += [["six heads on a GPU instead, GPU hours", *map(_hours, gpu)]]
    rows += [["… dollars", *(f"{seconds / 3600 * GPU_HOUR:,.2f}" for seconds in gpu)]]
    rows += [["features on disk, GiB", *(f"{4 * FEATURES * s.docs / 2**30:,.1f}" for s in SIZES)]]
    return _table(rows)


def predictions() -> str:
    """Hours and dollars of a billion predictions."""
    rows = [["10⁹ texts", "vcpu hours", "dollars"], ["---", "---:", "---:"]]
    for name, rate in SERVED.items():
        hours = PREDICTIONS / rate / 3600
        rows.append([name, f"{hours:,.0f}", f"{hours * VCPU_HOUR:,.0f}"])
    hours = PREDICTIONS * FLOPS_PER_DOC / GPU_FLOPS / 3600
    name = "GPU (GPU hours), computed from its products"
    rows.append([name, f"{hours:,.0f}", f"{hours * GPU_HOUR:,.0f}"])
    return _table(rows)


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.2f}" if hours < 10 else f"{hours:,.0f}"


def _table(rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def table() -> str:
    """Both."""
    return f"{nights()}\n{predictions()}"


if __name__ == "__main__":
    print(table(), end="")
