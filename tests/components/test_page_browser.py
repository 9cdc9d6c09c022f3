"""The page in a real browser: silent console, no request, sorting and search, no axe violation."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import report
from components._formats.page import read_figures, write_page
from tests.builders.judged import judged_findings
from tests.builders.report_inputs import corpus, write_inputs
from tests.components.conftest import CHROMIUM
from tests.components.test_report import DECISION, PARAMS, drift, outputs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
AXE = "axe-core@4.14.1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
]
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("page")
    out = outputs(root / "out")
    frame = corpus(600, 24)
    given = write_inputs(root / "in", frame)
    given["findings"].write_text(json.dumps(judged_findings(frame)), encoding="utf-8")
    report.run(**given, **out, params=PARAMS)
    figures = read_figures(out["figures"])
    write_page(out["details"], out["page"], figures=figures, decision=DECISION, drift=drift())
    return {"report": out["page"], "annotation": out["annotation_page"]}


@pytest.fixture(params=["report", "annotation"])
def page_file(files, request) -> Path:
    return files[request.param]


@pytest.fixture(params=["light", "dark"])
def page(browser, page_file, request) -> Iterator[sync_api.Page]:
    context = browser.new_context(color_scheme=request.param)
    opened = context.new_page()
    opened.set_viewport_size(dict(zip(("width", "height"), WIDTHS["desk"], strict=True)))
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("dialog", lambda dialog: (opened.said.append("dialog"), dialog.dismiss()))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(page_file.as_uri())
    yield opened
    context.close()


def visible(page) -> list[str]:
    return page.locator("#label-table tbody tr:not([hidden]) > th").all_inner_texts()


def column(page, number: int) -> list[str]:
    return page.locator(f"#label-table tbody tr > :nth-child({number})").all_inner_texts()


def test_nothing_is_said_and_nothing_is_asked_for(page, page_file):
    page.locator("details summary").first.click()
    assert page.said == []
    own = page_file.as_uri()
    assert [url for url in page.asked if url != own and not url.startswith("data:")] == []


@pytest.mark.parametrize("page_file", ["report"], indirect=True)
def test_labels_are_sorted_and_searched(page):
    head = page.get_by_role("columnheader", name="F1", exact=True)
    button = head.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    values = [float(text) for text in column(page, 9)]
    assert values == sorted(values, reverse=True) and len(set(values)) > 3
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, 9)] == sorted(values)
    page.get_by_label("Search").fill("LABEL 0")
    assert len(visible(page)) == 10 and all("label 0" in text for text in visible(page))
    assert page.locator("#label-count").inner_text() == "10 of 24 labels"
    page.get_by_label("Search").fill("<script>")
    assert len(visible(page)) == 1
    page.get_by_label("Search").fill("")
    page.locator("#label-group").select_option("HEAD")
    groups = page.locator("#label-table tbody tr:not([hidden]) > td:nth-child(2)")
    assert set(groups.all_inner_texts()) == {"HEAD"}


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_scrolls_sideways(page, width):
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))
    inner = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert inner[0] <= inner[1]


def test_a_printed_page_shows_the_whole_table(page):
    page.emulate_media(media="print")
    heights = page.evaluate(
        "(e => [e.scrollHeight, e.clientHeight])(document.querySelector('.tall'))"
    )
    assert heights[0] <= heights[1] + 1
    assert not page.locator("nav").is_visible()
    assert page.pdf()[:5] == b"%PDF-"


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The source of axe-core, installed by npm into a temporary folder."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: axe-core cannot be fetched")
    command = ["npm", "install", "--no-save", "--ignore-scripts", "--prefix", str(folder), AXE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"axe-core could not be installed: {done.stderr.strip()[-200:]}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_no_violation(page, axe, width):
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document).then(r => r.violations)")
    brief = [(v["id"], v["impact"], v["nodes"][0]["html"][:200]) for v in found]
    assert brief == [], json.dumps(brief, indent=1)
