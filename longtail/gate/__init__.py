"""The promotion gate: rules, what they look at, the lines they leave, and the error budget."""

from longtail.gate.budget import Answer, Asked, Budget
from longtail.gate.contest import METRICS, Champion, Comparison, Contest
from longtail.gate.lines import (
    ALL,
    FAILED,
    PASSED,
    REPORTED,
    Line,
    fact,
    measured,
    passed,
    points,
    signed,
    summary,
)
from longtail.gate.rules import RULES, Rules, Sample, answered, judge, quantized

__all__ = [
    "ALL", "FAILED", "METRICS", "PASSED", "REPORTED", "RULES", "Answer", "Asked", "Budget",
    "Champion", "Comparison", "Contest", "Line", "Rules", "Sample", "answered", "fact", "judge",
    "measured", "passed", "points", "quantized", "signed", "summary",
]  # fmt: skip
