"""What the report's figures show, read from the drawn axes."""

from __future__ import annotations

from matplotlib.figure import Figure

from longtail.report.page.figures import agreement, history


def test_the_history_separates_the_epochs_of_head_and_fine_tuning():
    columns = ["loss", "profile", "epoch", "micro_f1", "macro_f1"]
    rows = [
        ["db", "probe", 1, 0.3, 0.1],
        ["db", "probe", 2, 0.4, 0.2],
        ["bce", "probe", 1, 0.35, 0.05],
        ["db", "finetune", 1, 0.5, 0.3],
        ["db", "finetune", 2, 0.6, 0.4],
    ]
    figure = Figure()
    assert history(figure, {"history": {"columns": columns, "rows": rows}})
    micro, macro = figure.axes
    drawn = {line.get_label(): line for line in micro.lines}
    assert {name: line.get_xydata().tolist() for name, line in drawn.items()} == {
        "db": [[1, 0.3], [2, 0.4]],
        "bce": [[1, 0.35]],
        "db, fine-tuned": [[1, 0.5], [2, 0.6]],
    }
    assert macro.lines[2].get_ydata().tolist() == [0.3, 0.4]
    probe, tuned = drawn["db"], drawn["db, fine-tuned"]
    assert probe.get_color() == tuned.get_color() != drawn["bce"].get_color()
    assert probe.get_linestyle() != tuned.get_linestyle()


def test_without_a_history_nothing_is_drawn():
    assert not history(Figure(), {"history": {}})
    assert not history(Figure(), {"history": {"columns": ["loss", "epoch"], "rows": [["db", 1]]}})


def test_every_annotator_is_in_the_legend_whatever_the_name():
    """matplotlib skips labels with `_` in front, and sets what is between `$` as a formula."""
    names = ["_service", "ann", r"$\frac$"]
    periods = [{"period": "2026-01-01", "f1": 0.5, "alpha": 0.6}]
    annotators = [
        {"annotator": name, "documents": 9 - i, "periods": periods} for i, name in enumerate(names)
    ]
    findings = {"agreement": {"periods": periods}, "consensus": {"annotators": annotators}}
    figure = Figure(layout="constrained")
    assert agreement(figure, {"findings": findings})
    figure.canvas.draw()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    colors = [line.get_color() for line in figure.axes[1].lines]
    assert [handle.get_color() for handle in legend.legend_handles] == colors
