"""The report's figures, drawn from its dict alone; the same dict gives the same bytes.

Colors are the fixed stand-ins of `palette`, so that the page can replace them with its own and
follow light and dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.page.palette import GRID, INK, MUTED, SERIES
from longtail.report.page.view import findings_of

Details = Mapping[str, Any]
TITLES = {"micro_f1": "Micro-F1", "macro_f1": "Macro-F1"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
}
# From transparent to full, so that the page's own background shows through at zero.
HEAT = LinearSegmentedColormap.from_list(
    "heat", [(*to_rgb(SERIES[0]), alpha) for alpha in (0, 0.45, 0.7, 0.88, 1)]
)


def draw(details: Details) -> dict[str, str]:
    """Figure name -> SVG; a figure without data is left out."""
    return {name: svg for name, make in FIGURES.items() if (svg := _svg(name, make, details))}


def _svg(name: str, make: Callable[[Figure, Details], bool], details: Details) -> str:
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(5.4, 3.6))
        if not make(figure, details):
            return ""
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _clean(buffer.getvalue(), name)


def _clean(svg: str, name: str) -> str:
    """The SVG without prologue and metadata, its ids unique so that figures can share a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' id="[\w.]+_\d{1,5}"', "", svg)
    return re.sub(r'(id="|href="#|url\(#)(?=\w)', rf"\1{name}-", svg)


def label_frequency(figure: Figure, details: Details) -> bool:
    """Training documents per label, most frequent first, with the cut-offs of the groups."""
    freq = np.sort([row[2] for row in details["labels"]["rows"]])[::-1]
    axes: Axes = figure.subplots()
    rank = np.arange(1, len(freq) + 1)
    axes.fill_between(rank, np.maximum(freq, 0.5), 0.5, step="mid", color=SERIES[0], alpha=0.25)
    axes.step(rank, np.maximum(freq, 0.5), where="mid", color=SERIES[0], linewidth=1.6)
    _log_scale(axes)
    head, tail = details["totals"]["head"], details["totals"]["tail"]
    for edge in (int((freq >= head).sum()), int((freq > tail).sum())):
        axes.axvline(edge + 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlabel="label, by rank", ylabel="training documents", xlim=(0.5, len(freq) + 0.5))
    return True


def cooccurrence(figure: Figure, details: Details) -> bool:
    """p(i | j): how often a document with label j also has label i."""
    percent = np.array(details["cooccurrence"]["percent"], dtype=float)
    if not percent.size:
        return False
    axes: Axes = figure.subplots()
    axes.grid(False)
    edges = (0.5, len(percent) + 0.5)
    image = axes.imshow(
        percent / 100,
        extent=(*edges, *edges[::-1]),
        cmap=HEAT,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set(xlabel="given label j, by rank", ylabel="label i, by rank")
    figure.colorbar(image, ax=axes, label="p(i | j)").outline.set_visible(False)
    return True


def group_sizes(figure: Figure, details: Details) -> bool:
    """Documents per label by group and part, as box plots."""
    axes: Axes = figure.subplots()
    rows = details["labels"]["rows"]
    for part, column in enumerate((2, 3, 4)):
        counts = [
            [max(row[column], 0.5) for row in rows if row[1] == group] for group in FREQUENCY_GROUPS
        ]
        positions = np.arange(len(FREQUENCY_GROUPS)) + (part - 1) * 0.25
        boxes = axes.boxplot(
            counts,
            positions=positions,
            widths=0.18,
            patch_artist=True,
            manage_ticks=False,
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": MUTED},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=SERIES[part], alpha=0.8, edgecolor=SERIES[part])
        for line in [*boxes["whiskers"], *boxes["caps"], *boxes["medians"]]:
            line.set_color(INK)
        axes.plot([], [], "s", color=SERIES[part], label=("train", "val", "test")[part])
    _log_scale(axes)
    axes.set_xticks(range(len(FREQUENCY_GROUPS)), FREQUENCY_GROUPS)
    axes.set_ylabel("documents per label")
    axes.legend(ncols=3, loc="upper right")
    return True


def metrics_by_group(figure: Figure, details: Details) -> bool:
    """Micro-F1 and macro-F1 of every model in each group, with intervals."""
    for axes, metric in zip(
        figure.subplots(1, 2, sharey=True), ("micro_f1", "macro_f1"), strict=True
    ):
        models = details["models"]
        width = 0.8 / len(models)
        for i, model in enumerate(models):
            rows = {
                row["name"]: row
                for row in details["slices"][model["name"]]
                if row["kind"] == "frequency"
            }
            values = np.array([rows[group][metric] for group in FREQUENCY_GROUPS])
            bounds = np.array([rows[group]["intervals"][metric] for group in FREQUENCY_GROUPS])
            places = np.arange(len(values)) + (i - (len(models) - 1) / 2) * width
            errors = np.abs(bounds - values[:, None]).T
            axes.bar(
                places, values, width * 0.9, color=SERIES[i % len(SERIES)], label=model["title"]
            )
            axes.errorbar(places, values, errors, fmt="none", ecolor=INK, elinewidth=0.8)
        axes.set_xticks(range(len(FREQUENCY_GROUPS)), FREQUENCY_GROUPS)
        axes.set_title(TITLES[metric], fontsize=9, color=INK)
        axes.grid(axis="x", visible=False)
    _legend(figure)
    return True


def labels_predicted(figure: Figure, details: Details) -> bool:
    """Share of labels that each model predicts at least once, by group."""
    axes: Axes = figure.subplots()
    counts, models = details["predicted_labels"], details["models"]
    names = ("all", *FREQUENCY_GROUPS)
    width = 0.8 / len(models)
    for i, model in enumerate(models):
        shares = [counts[model["name"]][n] / max(1, counts["labels"][n]) for n in names]
        places = np.arange(len(names)) + (i - (len(models) - 1) / 2) * width
        axes.bar(places, shares, width * 0.9, color=SERIES[i % len(SERIES)], label=model["title"])
    axes.set_xticks(range(len(names)), ("all labels", *FREQUENCY_GROUPS))
    axes.set(ylim=(0, 1), ylabel="share of labels predicted")
    axes.grid(axis="x", visible=False)
    _legend(figure)
    return True


def precision_recall(figure: Figure, details: Details) -> bool:
    """Micro-precision against micro-recall of every model; a dot marks its own thresholds."""
    axes: Axes = figure.subplots()
    for i, model in enumerate(details["models"]):
        curve, total = details["curves"][model["name"]], details["slices"][model["name"]][0]
        color = SERIES[i % len(SERIES)]
        axes.plot(
            curve["recall"], curve["precision"], color=color, linewidth=1.5, label=model["title"]
        )
        axes.plot(total["micro_recall"], total["micro_precision"], "o", color=color, markersize=5)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    _legend(figure)
    return True


def reliability(figure: Figure, details: Details) -> bool:
    """Share of positives against mean score by group; on the diagonal, scores are probabilities."""
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for i, group in enumerate(FREQUENCY_GROUPS):
        bins = details["calibration"].get(group, {}).get("bins", [])
        axes.plot(
            [b["mean_score"] for b in bins],
            [b["share_positive"] for b in bins],
            marker="o",
            markersize=3.5,
            color=SERIES[i],
            linewidth=1.4,
            label=group,
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean score", ylabel="share of positives")
    _legend(figure)
    return True


def history(figure: Figure, details: Details) -> bool:
    """F1 on documents held out by epoch, one line per loss; dashed for fine-tuning."""
    columns, rows = details["history"].get("columns", []), details["history"].get("rows", [])
    if not {"loss", "profile", "epoch", "macro_f1", "micro_f1"} <= set(columns) or not rows:
        return False
    at = {name: columns.index(name) for name in columns}
    losses = list(dict.fromkeys(row[at["loss"]] for row in rows))
    runs = dict.fromkeys((row[at["loss"]], row[at["profile"]]) for row in rows)
    for axes, metric in zip(figure.subplots(1, 2), ("micro_f1", "macro_f1"), strict=True):
        for loss, profile in runs:
            own = [row for row in rows if (row[at["loss"]], row[at["profile"]]) == (loss, profile)]
            tuned = profile == "finetune"
            axes.plot(
                [row[at["epoch"]] for row in own],
                [row[at[metric]] for row in own],
                color=SERIES[losses.index(loss) % len(SERIES)],
                linewidth=1.4,
                linestyle="--" if tuned else "-",
                label=f"{loss}, fine-tuned" if tuned else str(loss),
            )
        axes.set_title(f"{TITLES[metric]} on held-out documents", fontsize=9, color=INK)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure)
    return True


def learning_curve(figure: Figure, details: Details) -> bool:
    """F1 by documents learned from, one line per label group."""
    curve = (details.get("annotation") or {}).get("curve")
    if not curve:
        return False
    for axes, metric in zip(
        figure.subplots(1, 2, sharey=True), ("micro_f1", "macro_f1"), strict=True
    ):
        for i, (name, found) in enumerate(curve["slices"].items()):
            axes.plot(
                curve["n_learned"],
                found[metric]["values"],
                marker="o",
                markersize=3.5,
                linewidth=1.4,
                color=INK if name == "all" else SERIES[i - 1],
                label="all labels" if name == "all" else name,
            )
        axes.set_xscale("log")
        axes.set_xticks(curve["n_learned"], [f"{n:,}" for n in curve["n_learned"]], fontsize=7)
        axes.set_xticks([], minor=True)
        axes.set_title(TITLES[metric], fontsize=9, color=INK)
        axes.set_xlabel("documents learned from")
    _legend(figure)
    return True


def agreement(figure: Figure, details: Details) -> bool:
    """Alpha by period, and the F1 of the annotators with most documents against the consensus."""
    findings = findings_of(details)
    periods = (findings.get("agreement") or {}).get("periods")
    if not periods:
        return False
    first, second = figure.subplots(1, 2)
    first.plot(
        _first_days(periods),
        [row["alpha"] for row in periods],
        marker="o",
        markersize=3.5,
        color=INK,
    )
    first.set_title("Krippendorff's alpha", fontsize=9, color=INK)
    annotators = (findings.get("consensus") or {}).get("annotators", [])
    ranked = sorted(annotators, key=lambda who: (-who["documents"], who["annotator"]))
    for who, color in zip(ranked, SERIES, strict=False):
        own = [row for row in who["periods"] if row["f1"] is not None]
        second.plot(
            _first_days(own),
            [row["f1"] for row in own],
            marker="o",
            markersize=3,
            color=color,
        )
    second.set_title("Annotators against the consensus, F1", fontsize=9, color=INK)
    for axes in (first, second):
        axes.tick_params(axis="x", labelrotation=45)
    names = [who["annotator"][:20] for who in ranked]
    _legend(figure, list(zip(second.get_lines(), names, strict=False)))
    return True


def _first_days(rows: Sequence[Details]) -> np.ndarray:
    return np.array([row["period"][:10] for row in rows], dtype="datetime64[D]")


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")


def _legend(figure: Figure, named: Sequence[tuple[Any, str]] = ()) -> None:
    """Beside the axes, where it hides no line.

    Args:
        figure: gets it.
        named: what it names; by default what has a label in the figure's first axes, where
            matplotlib skips labels that begin with `_`.
    """
    handles, names = zip(*named, strict=True) if named else (
        figure.axes[0].get_legend_handles_labels()
    )  # fmt: skip
    legend = figure.legend(
        handles, names, loc="outside upper left", ncols=5, handlelength=1.4, columnspacing=1.2
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name with two `$` is no formula


FIGURES: dict[str, Callable[[Figure, Details], bool]] = {
    "metrics_by_group": metrics_by_group,
    "labels_predicted": labels_predicted,
    "label_frequency": label_frequency,
    "cooccurrence": cooccurrence,
    "group_sizes": group_sizes,
    "precision_recall": precision_recall,
    "reliability": reliability,
    "history": history,
    "learning_curve": learning_curve,
    "agreement": agreement,
}
