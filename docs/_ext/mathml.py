"""Formulas as MathML, which browsers show by themselves: no script, nothing from the network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml


def _write(self: Any, node: nodes.Element, *, block: bool) -> None:
    tree = latex2mathml.tex2mathml(node.astext(), as_block=block)
    self.body.append(f'<div class="formula">{tree}</div>' if block else tree)
    raise nodes.SkipNode


def _inline(self: Any, node: nodes.Element) -> None:
    _write(self, node, block=False)


def _block(self: Any, node: nodes.Element) -> None:
    _write(self, node, block=True)


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer that `html_math_renderer` names."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
