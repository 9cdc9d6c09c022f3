"""The colors of the figures: stand-ins that the page replaces with its own."""

from __future__ import annotations

INK, MUTED, GRID = "#1d2430", "#6b7482", "#dde1e6"
SERIES = ("#2f6f8f", "#c2703d", "#8a93a0", "#7d6aa8", "#5f9465", "#b0527c", "#a3902a")
PALETTE = {"ink": INK, "muted": MUTED, "line": GRID} | {
    f"series-{i + 1}": color for i, color in enumerate(SERIES)
}
