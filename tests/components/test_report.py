"""The report stage on a small set of files: contents, escaping, refusals, the same bytes twice."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from components import report
from components._formats.page import ANNOTATION_HINTS, HINTS, read_figures, write_page
from components._formats.scores import read_scores
from components._report.inputs import read_suspects
from longtail.annotation.review_tally import tally
from longtail.drift import Answers, Documents, measure
from longtail.errors import DataError
from longtail.label_matrix import encode
from longtail.report import build
from longtail.report.attributions import Attribution
from longtail.report.page import annotation, render, view
from longtail.report.page.render import CONTENTS
from tests.builders.judged import judged_findings
from tests.builders.params import stage_params
from tests.builders.paths import ROOT
from tests.builders.report_inputs import HOSTILE, corpus, write_inputs

DECISION = {
    "verdict": "refused",
    "summary": "TAIL lost <b>6.0</b> points.",
    "challenger": {"version": 3},
    "champion": {"version": 2, "metrics": {"micro_f1": 0.61, "macro_f1": 0.2}},
    "rules": [
        {"rule": "gain", "metric": "micro_f1", "slice": "all", "champion": 0.61,
         "challenger": 0.6, "difference": -0.01, "interval": [-0.02, 0.0], "limit": 0.0,
         "verdict": "failed", "reason": "below <i>limit</i>"},
        {"rule": "smoke", "verdict": "passed", "reason": "loads"},
    ],
    "decided_at": "2026-11-20",
    "labels_added": ["<img src=x>"],
    "labels_mapped": {"<i>new": ["<u>old", "other"]},
    "labels_left_out": ["<s>gone"],
}  # fmt: skip
WATCHED = {
    "promoted": 0.62,
    "limit": 0.6,
    "below": False,
    "measured": {"micro_f1": 0.587, "low": 0.561, "high": 0.613, "n_docs": 1412, "n_units": 1380,
                 "level": 0.9, "enough": True,
                 "fall": {"certain": False, "e_value": 0.4, "n_docs": 640, "micro_f1": 0.55},
                 "new_label_share": 0.0,
                 "micro_f1_with_new_labels": 0.587},
    "estimated": {"micro_f1": 0.601, "n_docs": 1412},
    "unlabeled": None,
    "estimated_at_promotion": 0.624,
}  # fmt: skip
OUTPUTS = {"metrics": "metrics.json", "details": "report.json", "page": "report.html",
           "annotation_page": "annotation.html", "markdown": "report.md",
           "figures": "figures"}  # fmt: skip


def drift() -> dict[str, Any]:
    """A record of `components.drift`, measured: the hostile label moved, the other did not."""
    labels = [HOSTILE[0], "label 01"]

    def side(n_docs: int, every: int) -> tuple[Documents, Answers]:
        rows = [labels if i % every == 0 else labels[1:] for i in range(n_docs)]
        n_labels, units = np.array([len(row) for row in rows]), np.arange(n_docs)
        documents = Documents(["some words"] * n_docs, encode(rows, labels), units)
        return documents, Answers(n_labels / 2, n_labels, units)

    (before, known), (after, new) = side(200, every=10), side(60, every=1)
    settings = {"alpha": 0.05, "n_draws": 199, "seed": 0}
    measured = measure(before, after, labels, (known, new), **settings)
    return {"alarms": [], "judged": True, "champion": "7", "watch": WATCHED, **measured}


def outputs(root: Path) -> dict[str, Path]:
    return {name: root / file for name, file in OUTPUTS.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    paths = write_inputs(root / "in", corpus(), blend_weight=0.3)
    out = outputs(root / "out")
    report.run(**paths, **out, params=PARAMS)
    return paths, out


PARAMS = stage_params(
    report.Params,
    "report",
    {"n_draws": 100, "worst_errors": 6, "token_labels": 2, "attribution_steps": 8},
)


class Elements(HTMLParser):
    """Collects what a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_metrics_agree_with_scikit_learn(made):
    paths, out = made
    metrics = json.loads(out["metrics"].read_text())
    scores = read_scores(paths["baseline_test_scores"])
    limits = json.loads(paths["thresholds"].read_text())["models"]["baseline"]["thresholds"]
    predicted = (np.asarray(scores.scores) >= limits).astype(int)
    for average in ("micro", "macro"):
        expected = f1_score(scores.targets.toarray(), predicted, average=average, zero_division=0)
        assert metrics["baseline"][f"{average}_f1"] == pytest.approx(expected, abs=1e-6)
    groups = np.array(json.loads(paths["frequencies"].read_text())["groups"])
    medium = groups == "MEDIUM"
    expected = f1_score(scores.targets.toarray()[:, medium], predicted[:, medium], average="macro")
    assert metrics["baseline"]["MEDIUM"]["macro_f1"] == pytest.approx(expected, abs=1e-6)
    assert metrics["baseline"]["labels_predicted"] == (predicted.sum(0) > 0).sum()
    assert list(metrics) == ["model", "baseline", "bce", "without"]


def test_the_model_is_scored_as_it_is_served_blended(made):
    paths, out = made
    z = [
        np.log(s / (1 - s))
        for s in (
            np.asarray(read_scores(paths[name]).scores, dtype=float)
            for name in ("test_scores", "baseline_test_scores")
        )
    ]
    limits = json.loads(paths["thresholds"].read_text())["models"]["model"]["thresholds"]
    blended = 1 / (1 + np.exp(-(0.7 * z[0] + 0.3 * z[1])))
    expected = f1_score(
        read_scores(paths["test_scores"]).targets.toarray(),
        (blended >= limits).astype(int),
        average="micro",
    )
    assert json.loads(out["metrics"].read_text())["model"]["micro_f1"] == pytest.approx(expected)


def test_supports_add_up_in_every_partition(made):
    details = json.loads(made[1]["details"].read_text())
    totals = details["totals"]
    rows = details["slices"]["model"]
    kinds = {row["kind"] for row in rows}
    assert {
        "frequency",
        "zero",
        "labels_per_document",
        "metadata:length",
        "metadata:source",
        "metadata:annotator",
        "metadata:annotated_at",
    } <= kinds
    for kind in kinds - {"zero"}:
        assert sum(r["support"] for r in rows if r["kind"] == kind) == totals["support"], kind


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The page of annotation of a corpus that several people judged, and its details."""
    root = tmp_path_factory.mktemp("judged")
    frame = corpus()
    paths, out = write_inputs(root / "in", frame), outputs(root / "out")
    paths["findings"].write_text(json.dumps(judged_findings(frame)), encoding="utf-8")
    report.run(**paths, **out, params=PARAMS)
    return out


def section(page: str, name: str) -> str:
    """The text of one section."""
    return " ".join(
        " ".join(
            Elements(page.split(f'<section id="{name}"')[1].split("</section>")[0]).text
        ).split()
    )


def test_the_annotation_page_shows_what_was_found(judged):
    page, details = judged["annotation_page"].read_text(), json.loads(judged["details"].read_text())
    findings = details["findings"]
    assert re.findall(r'<li><a href="#([^"]+)"', page) == list(annotation.CONTENTS)
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page, anchor
    agreed = section(page, "agreement")
    assert f"alpha {findings['agreement']['alpha']:.2f}" in agreed
    assert len(findings["agreement"]["periods"]) == 4
    for row in findings["agreement"]["periods"]:
        assert f"{row['period']} {row['documents']} {row['alpha']:.2f}" in agreed
    pairs = [set(row["annotators"]) for row in findings["agreement"]["pairs"]]
    assert pairs[-1] == {"ann <b>", "bob"}  # the careful ones agree most
    least = findings["consensus"]["annotators"][0]
    assert least["annotator"] == "cee" and len(least["periods"]) == 4
    shown = section(page, "annotators")
    assert shown.index("cee") < shown.index("bob") and f"{100 * least['f1']:.1f}" in shown
    swap = findings["agreement"]["swapped_labels"][0]
    assert swap["examples"] and swap["examples"][0]["id"] in section(page, "confusion")
    assert "60 suspected labels were reviewed so far" in section(page, "suspects")
    assert "wrong 30 20 66.7" in section(page, "suspects")
    names = [tag for tag, _ in Elements(page).tags]
    assert names.count("script") == 1 and not {"b", "img", "u"} & set(names)
    assert page.count("<svg") == 2 and "ann <b>" in "".join(Elements(page).text)


def test_the_annotation_page_says_what_is_missing_and_what_to_do(made, tmp_path):
    page = made[1]["annotation_page"].read_text()
    assert "No document was judged by two annotators" in section(page, "agreement")
    assert "longtail ingest label_studio" in section(page, "annotators")
    assert "Nothing was looked for" in section(page, "proposals")
    assert "No suspected label was reviewed yet; 4 are listed." in section(page, "suspects")
    gain = section(page, "gain")
    assert "the order in which they were annotated" in gain and "since 2025-09-28" in gain
    details = json.loads(made[1]["details"].read_text())
    details["annotation"]["curve"] = None
    bare = annotation.annotation_page(details, hints=ANNOTATION_HINTS)
    assert "There is no learning curve" in section(bare, "gain")
    assert "Set baseline.learning_curve to true" in section(bare, "gain")


def test_the_pairs_that_the_baseline_confuses_are_those_of_documents_outside_test(made):
    paths, out = made
    scores = read_scores(paths["baseline_val_scores"])
    limits = json.loads(paths["thresholds"].read_text())["models"]["baseline"]["thresholds"]
    predicted, truth = np.asarray(scores.scores) >= limits, scores.targets.toarray() > 0
    missed, wrong = truth & ~predicted, predicted & ~truth
    found = json.loads(out["details"].read_text())["annotation"]
    assert found["n_held_out"] == len(scores.ids) and len(found["confusion"]) == 3
    for pair in found["confusion"]:
        i, j = (scores.labels.index(pair[name]) for name in ("missed", "predicted"))
        assert pair["n_docs"] == int((missed[:, i] & wrong[:, j]).sum()) >= 2
        for row in pair["documents"]:
            assert missed[row, i] and wrong[row, j]
            assert found["documents"][str(row)]["id"] == scores.ids[row]


@pytest.mark.parametrize("measured", [True, False])
def test_the_page_holds_every_section_in_order(made, measured):
    page = render.page(
        json.loads(made[1]["details"].read_text()), drift=drift() if measured else None
    )
    anchors = [a for a in CONTENTS if measured or a not in ("drift", "champion")]
    places = [page.index(f'id="{anchor}"') for anchor in anchors]
    assert places == sorted(places)
    assert re.findall(r'<li><a href="#([^"]+)"', page) == anchors
    assert ("Drift" in page) == measured
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page, anchor


def test_only_the_caller_names_commands_and_files(made):
    sources = [
        p for p in (ROOT / "longtail/report").rglob("*") if p.suffix in (".py", ".html", ".js")
    ]
    assert len(sources) > 30
    for source in sources:
        named = re.search(r"components|make run|dvc|reports/|\.json|\.csv", source.read_text())
        assert named is None, (source, named)
    details = json.loads(made[1]["details"].read_text())
    page = render.page(details, max_labels=5, hints=HINTS)
    found = Elements(page)
    assert [tag for tag, _ in found.tags].count("code") == 7  # one is the objective
    shown = " ".join("".join(found.text).split())
    for hint in asdict(HINTS).values():
        assert hint.replace("`", "") in shown
    assert HINTS.undecided in render.markdown(details, hints=HINTS)
    assert HINTS.undecided not in render.markdown(details, DECISION, hints=HINTS)


def test_copies_of_test_documents_in_other_parts_are_in_sight(made):
    page = made[1]["page"].read_text()
    shown = " ".join("".join(Elements(page[page.index('id="split"') :]).text).split())
    before_the_facts = shown[: shown.index("All split metrics")]
    assert "Documents of test with a copy in another part 0" in before_the_facts
    assert "Documents of test with a near-copy in another part 3" in before_the_facts


def test_the_script_is_the_one_that_the_policy_allows(made):
    page = made[1]["page"].read_bytes()
    script = page[page.index(b"<script>") + 8 : page.index(b"</script>")]
    digest = base64.b64encode(hashlib.sha256(script).digest())
    assert b"script-src 'sha256-" + digest + b"'" in page


def test_corpus_text_is_only_ever_text(made):
    page = made[1]["page"].read_text()
    found = Elements(page)
    names = [tag for tag, _ in found.tags]
    assert names.count("script") == 1 and "b" not in names and "img" not in names
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    shown = "".join(found.text)
    for label in HOSTILE:
        assert label.strip() in shown
    assert not [a for t, a in found.tags if t in ("link", "iframe") or "src" in a]
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_csv_cells_are_harmless(made):
    with (made[1]["figures"] / "labels.csv").open(newline="") as file:
        labels = [row[0] for row in csv.reader(file)]
    assert "'" + HOSTILE[1] in labels
    assert not any(label.startswith(("=", "+", "-", "@")) for label in labels)


def test_the_same_files_give_the_same_bytes(made, tmp_path):
    paths, out = made
    again = outputs(tmp_path)
    report.run(**paths, **again, params=PARAMS)
    for name in ("metrics", "details", "page", "annotation_page", "markdown"):
        assert again[name].read_bytes() == out[name].read_bytes(), name
    for file in sorted(out["figures"].iterdir()):
        assert (again["figures"] / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_decision_is_shown_when_it_is_there(made, tmp_path):
    _, out = made
    assert "Not decided yet" in out["page"].read_text()
    figures = read_figures(out["figures"])
    written = tmp_path / "p.html", tmp_path / "p.md"
    write_page(out["details"], *written, figures=figures, decision=DECISION)
    page = written[0].read_text()
    drawn = out["page"].read_text()
    part = slice(drawn.index('id="figures"'), drawn.index('id="thresholds"'))
    assert len(figures) > 5 and drawn[part].count("<svg") > 3 and drawn[part] in page
    assert "Not decided yet" not in page and "Refused" in page
    assert "TAIL lost &lt;b&gt;6.0" in page and "below &lt;i&gt;limit" in page
    assert "&lt;img src=x&gt;" in page
    headline = page[page.index('id="headline"') : page.index('id="slices"')]
    assert "<td>61.0</td>" in headline and "<td>20.0</td>" in headline  # the champion's
    assert "TAIL lost &lt;b>6.0" in (tmp_path / "p.md").read_text()


def test_the_page_says_how_often_the_test_set_was_asked_and_what_it_can_see(made):
    details = json.loads(made[1]["details"].read_text())
    known = {"decisions": 7, "since": "2026-11-01", "objective": "mean_f1", "needed": 0.0123,
             "power": {"0.005": 0.1234, "0.02": 0.98}, "spent": 0.0123, "share": 0.1}  # fmt: skip

    def shown(test_set: dict[str, Any]) -> str:
        page = render.page(details, DECISION | {"test_set": test_set})
        part = page[page.index('id="decision"') : page.index('id="headline"')]
        return " ".join(" ".join(Elements(part).text).split())

    text = shown(known)
    assert "Asked for a decision 7 times since 2026-11-01" in text
    assert "1.2% so far, 10% over its life, at most" in text
    assert "Gain in mean_f1 needed tonight 1.2 points" in text
    assert "better by 0.5 points is recognized in 12% of the cases" in text
    assert "better by 2 points is recognized in 98% of the cases" in text
    assert "no gain is enough" in shown(known | {"needed": None})
    assert "Asked for a decision" not in shown({})


@pytest.mark.parametrize(
    ("alarms", "judged", "said"),
    [
        ([], True, "No limit was exceeded."),
        ([], False, "They are too few to judge."),
        (["<i>Words</i> are new."], True, "<i>Words</i> are new."),
    ],
)
def test_drift_is_shown_where_it_was_measured(made, tmp_path, alarms, judged, said):
    record = drift() | {"alarms": alarms, "judged": judged}
    write_page(made[1]["details"], tmp_path / "p.html", figures={}, drift=record)
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]
    page = (tmp_path / "p.html").read_text()
    part = page[page.index('id="drift"') : page.index('id="lineage"')]
    shown = " ".join("".join(Elements(part).text).split())
    assert "60 new documents against the 200 that champion version 7 was made from." in shown
    assert said in shown and "<i>" not in part
    assert "Label prevalence" in shown and "Words per document" in shown
    # Only the hostile label moved: from every tenth document to all of them.
    assert [row["label"] for row in record["labels"]["moved"]] == [HOSTILE[0]]
    assert f"{HOSTILE[0]} 10.0 100.0 +90.0" in shown


def champion_part(details: Path, **changes: Any) -> str:
    """The text of the page's section on the champion."""
    record = drift() | {"watch": WATCHED | changes}
    page = render.page(json.loads(details.read_text()), DECISION, record)
    part = page[page.index('id="champion"') : page.index('id="headline"')]
    return " ".join(" ".join(Elements(part).text).split())


def test_the_honest_score_is_shown_beside_the_one_at_promotion(made):
    shown = champion_part(made[1]["details"])
    assert "Champion version 7 since its promotion At promotion 62.0 on its test set" in shown
    assert "On later documents 58.7 −3.3 against promotion 56.1–61.3, 1,412 documents" in shown
    assert "Estimated for these 60.1 −2.3 against promotion 1,412 documents" in shown
    assert "The 90% interval holds" in shown and "was 62.4" in shown
    assert "Certainly below" not in shown and "restore" not in shown


def test_what_is_below_its_limit_and_the_command_are_shown(made):
    shown = champion_part(
        made[1]["details"], below=True, limit=0.65, rollback="longtail rollback --reason '<b>'"
    )
    assert "Certainly below the limit of 65.0: 55.0 on the last 640 of these documents." in shown
    assert "To restore the version before it: longtail rollback --reason '<b>'" in shown
    whole = WATCHED["measured"] | {"fall": WATCHED["measured"]["fall"] | {"n_docs": 1412}}
    again = champion_part(
        made[1]["details"], below=True, restored="6", rollback="longtail x", measured=whole
    )
    assert "55.0 on these documents." in again
    assert "Version 6 is the champion again." in again and "longtail x" not in again


def test_what_is_unknown_about_the_champion_is_left_out(made):
    few = WATCHED["measured"] | {"enough": False, "n_docs": 31, "low": 0.0, "high": 1.0}
    shown = champion_part(made[1]["details"], promoted=None, limit=None, measured=few)
    assert "At promotion –" in shown and "On later documents 58.7 31 documents" in shown
    assert "against promotion 31" not in shown
    unlabeled = {"micro_f1": 0.6, "n_docs": 80}
    shown = champion_part(made[1]["details"], measured=None, estimated=None, unlabeled=unlabeled)
    assert "On later documents" not in shown and "interval" not in shown
    assert "Estimated without labels 60.0 −2.4 against promotion 80 documents" in shown
    new = WATCHED["measured"] | {"new_label_share": 0.031, "micro_f1_with_new_labels": 0.57}
    shown = champion_part(made[1]["details"], measured=new)
    assert "3.1% of their labels are new" in shown and "the score is 57.0" in shown


@pytest.mark.parametrize(
    "record",
    [
        {"champion": None, "reason": "no champion", "alarms": [], "judged": False},
        {"champion": "1", "psi": {"top_score": 0.1}, "alarms": [], "judged": True},  # of 0.1.0
    ],
)
def test_a_record_without_a_champion_or_of_an_older_form_is_not_shown(made, record):
    details = json.loads(made[1]["details"].read_text())
    assert render.page(details, DECISION, record) == render.page(details, DECISION)


def test_why_nothing_was_measured_is_shown(made):
    details = json.loads(made[1]["details"].read_text())
    record = {"champion": "7", "reason": "31 <b>documents</b>.", "alarms": [], "judged": False}
    page = render.page(details, DECISION, record)
    assert "31 &lt;b&gt;documents&lt;/b&gt;." in page and 'id="drift"' not in page


def test_suspects_of_both_kinds_are_shown_as_they_are_written(made):
    details = json.loads(made[1]["details"].read_text())
    cut = read_suspects(made[0]["suspects"], 4)
    assert [(row["kind"], row["rank"]) for row in cut["rows"]] == [
        ("wrong", "1"),
        ("wrong", "2"),
        ("missing", "1"),
    ]
    assert cut["total"] == details["suspects"]["total"] == 4
    page = made[1]["page"].read_text()
    part = page[page.index('id="suspects"') : page.index('id="split"')]
    shown = "".join(Elements(part).text)
    assert "=cmd() <img src=x onerror=alert(3)>" in shown and "'=cmd()" not in shown
    assert "+lost" in shown and shown.index("should not be there") < shown.index("are missing")


def test_reviewed_suspects_are_counted_and_a_falling_rule_is_named(made):
    details = json.loads(made[1]["details"].read_text())
    assert "Reviewed suspects" not in render.page(details)
    falling = tally("wrong", [True] * 40 + [False] * 30) | {
        "recent": tally("wrong", [True] * 10 + [False] * 40), "falls": True,
    }  # fmt: skip
    steady = tally("copies", [True]) | {"recent": tally("copies", [True]), "falls": False}
    people = [tally("<b>ann</b>", [True, False]), tally("", [False])]
    details["findings"]["reviews"] = {"rules": [falling, steady], "annotators": people}
    page = render.page(details)
    part = page[page.index("Reviewed suspects") : page.index('id="split"')]
    shown = " ".join("".join(Elements(part).text).split())
    assert "Of the last 50 reviewed suspects of the rule wrong, only 10 were right" in shown
    assert shown.count("fewer than before") == 1
    # Wilson for 40 of 70.
    assert "wrong 70 40 57.145.5–68.1" in shown
    assert "<b>ann</b> 2 1 50.0" in shown and "unknown 1 0 0.0" in shown and "<b>ann" not in part


def test_the_champion_has_columns_only_where_there_is_one(made):
    details = json.loads(made[1]["details"].read_text())
    for decision, found in (
        (None, 0),
        ({"verdict": "promoted", "champion": None}, 0),
        ({"verdict": "promoted", "champion": {"version": 2, "metrics": {}}}, 0),
        (DECISION, 1),
    ):
        text = render.page(details, decision)
        assert text.count(">Champion</th>") == found


def test_lineage_shows_the_tags_of_the_registered_version(made):
    details = json.loads(made[1]["details"].read_text())
    decision = DECISION | {"challenger": {"version": "7", "tags": {"git_commit": "<abc>"}}}
    page = render.page(details, decision)
    part = page[page.index("Registered version") :]
    assert re.search(r"git_commit</dt>\s*<dd><bdi>&lt;abc&gt;</bdi>", part)
    assert "appear here once the gate" in render.page(details)


def test_equal_thresholds_take_one_row(made):
    details = json.loads(made[1]["details"].read_text())
    rows = view.threshold_rows(details)
    assert [row[2] for row in rows] == ["all"] * 3  # the fixture tunes a global one
    assert [row[:2] for row in rows] == [["DB + SVM", 0.3], ["SVM", None], ["BCE + SVM", 0.3]]
    spread = details["thresholds"]["spread"]["model"]
    spread["TAIL"] = [0.1, 0.2, 0.3]
    assert [row[2] for row in view.threshold_rows(details)][:3] == ["HEAD", "MEDIUM", "TAIL"]


def test_sections_without_data_say_so(tmp_path):
    frame = corpus(150, 8, plain=True)
    paths = write_inputs(tmp_path / "in", frame)
    paths["history"].write_text("")
    paths["suspects"].write_text("")
    out = outputs(tmp_path / "out")
    report.run(**paths, **out, params=PARAMS)
    page = out["page"].read_text()
    for column in ("source", "annotator", "annotated_at"):
        assert f"The corpus has no {column} column." in page
    assert "No label errors are suspected." in page
    assert not (out["figures"] / "history.svg").exists()


def test_nan_scores_and_unexpected_ids_are_refused_by_name(tmp_path):
    paths = write_inputs(tmp_path / "in", corpus(150, 8), nan=True)
    with pytest.raises(DataError, match=r"'model'.*NaN.*repro --force train"):
        report.run(**paths, **outputs(tmp_path / "out"), params=PARAMS)
    index = paths["baseline_test_scores"] / "index.json"
    index.write_text(index.read_text().replace('"doc-0149"', '"doc-9999"'))
    with pytest.raises(DataError, match="baseline_test_scores: documents or labels differ"):
        report.run(**paths, **outputs(tmp_path / "out"), params=PARAMS)
    assert not (tmp_path / "out" / "report.json").exists()


def test_one_annotator_a_silent_source_and_a_label_that_is_everywhere(tmp_path):
    """A slice without positives has no figures, and the supports still add up."""
    frame = corpus(200, 8)
    word = "x" * 300  # a label without a place to break the line
    frame["labels"] = [sorted({word, *labels}) for labels in frame["labels"]]
    frame["annotator"] = "ann"
    frame["source"] = "wire"
    frame.loc[[9, 14, 19], "source"] = "silent"  # of the test part
    frame.loc[frame["source"] == "silent", "labels"] = pd.Series([[]] * 3, index=[9, 14, 19])
    out = outputs(tmp_path / "out")
    report.run(**write_inputs(tmp_path / "in", frame), **out, params=PARAMS)
    details = json.loads(out["details"].read_text())
    rows = {(row["kind"], row["name"]): row for row in details["slices"]["model"]}
    silent, ann = rows["metadata:source", "silent"], rows["metadata:annotator", "ann"]
    assert (silent["n_docs"], silent["support"], silent["greyed"]) == (3, 0, True)
    assert (ann["n_docs"], ann["support"]) == (40, details["totals"]["support"])
    everywhere = next(row for row in details["labels"]["rows"] if row[0] == word)
    assert everywhere[2:5] == [
        frame["labels"][:]
        .map(lambda x: word in x)[np.resize([True, True, True, False, False], 200)]
        .sum(),
        40,
        37,
    ]
    page = out["page"].read_text()
    part = page[page.index(">silent</bdi>") :][:300]
    assert part.count("<td>–</td>") >= 4 and "nan" not in part.lower()
    assert f'title="{word}"' in page


def test_a_rough_attribution_is_made_again_with_more_steps(monkeypatch, tmp_path):
    asked = []

    def rough(model, text, label, *, steps, max_length, fast):
        asked.append((text, label, steps))
        gap = {8: 0.11, 32: 0.3}[steps] if label == asked[0][1] else 0.09
        # Words for and against cancel out: the gap is compared with their absolute values.
        pieces = [(text[:1], -0.4), (" ", None), (text[1:], 0.6)]
        return Attribution(pieces, logit=1.2, baseline_logit=1.0, gap=gap)

    monkeypatch.setattr(build, "attribute", rough)
    paths, out = write_inputs(tmp_path / "in", corpus(150, 8)), outputs(tmp_path / "out")
    report.run(**paths, **out, params=PARAMS.model_copy(update={"token_labels": 0}))
    first = asked[0][:2]
    assert asked[:2] == [(*first, 8), (*first, 32)]
    assert {steps for _, label, steps in asked if label != first[1]} == {8}
    errors = json.loads(out["details"].read_text())["errors"]
    gaps = {row["attribution"]["gap"] for row in errors}
    assert gaps == {0.3, 0.09}
    assert "30.0% of their absolute sum; too rough" in out["page"].read_text()


def test_a_page_of_many_labels_is_cut_and_says_so(made):
    details = json.loads(made[1]["details"].read_text())
    page = render.page(details, max_labels=5)
    assert "5 of 20 labels: those with the most errors" in page
    assert page.count("data-flags=") == 5
    errors = {row[0]: row[10] + row[11] for row in details["labels"]["rows"]}
    worst = sorted(errors, key=lambda label: (-errors[label], label))[:5]
    body = Elements(page[page.index('id="label-table"') :]).text
    assert all(label in body for label in worst)


def test_no_entity_is_in_what_is_escaped_anyway() -> None:
    """In `{{ … }}` an entity would be shown as it is written: `&amp;rsquo;`."""
    templates = sorted((ROOT / "longtail/report/page/templates").rglob("*.html"))
    assert len(templates) > 10
    found = {
        file.name: entities
        for file in templates
        for shown in re.findall(r"{{.*?}}", file.read_text(encoding="utf-8"), re.DOTALL)
        if (entities := re.findall(r"&#?\w+;", shown))
    }
    assert found == {}
