"""What the page shows, in the shape that its templates want."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longtail.report.ingredients import INGREDIENTS, METRICS
from longtail.report.page.formats import BAD, GOOD, moment, number, signed
from longtail.report.sections import DOCUMENT_SLICES

Details = Mapping[str, Any]
BARE = ("labels_with_f1", "hamming_loss")  # not shares of one: shown as they are
TILES = (("all", "micro_f1", "Micro-F1"), ("all", "macro_f1", "Macro-F1"),
         ("TAIL", "micro_f1", "TAIL micro-F1"), ("TAIL", "macro_f1", "TAIL macro-F1"))  # fmt: skip


def completed(decision: Details | None) -> dict[str, Any] | None:
    """The decision with every key that the page reads, so that an older one still renders."""
    if not decision:
        return None
    keys = ("rule", "metric", "slice", "champion", "challenger", "difference", "interval", "limit",
            "verdict", "reason")  # fmt: skip
    optional = ("champion", "labels_added", "labels_removed", "labels_mapped", "labels_left_out",
                "test_set")  # fmt: skip
    whole = dict.fromkeys(optional) | dict(decision)
    whole["rules"] = [dict.fromkeys(keys) | dict(r) for r in decision.get("rules") or ()]
    return whole


def verdict(decision: Details | None) -> dict[str, str]:
    """Title, text and color of the decision."""
    if not decision:
        text = "The promotion gate has not judged this model."
        return {"title": "Not decided yet", "tone": "", "text": text}
    word = str(decision.get("verdict") or "unknown")
    tone = "good" if word in GOOD else "bad" if word in BAD else ""
    text = str(decision.get("summary") or "")
    if decision.get("decided_at"):
        text += f" Decided {moment(str(decision['decided_at']))}."
    return {"title": word[:1].upper() + word[1:], "tone": tone, "text": text}


def champion_metrics(decision: Details | None) -> dict[str, float]:
    """Metric -> value of the champion; empty where the decision compared with none."""
    return ((decision or {}).get("champion") or {}).get("metrics") or {}


def champion_note(decision: Details | None) -> str:
    """What the champion's column means, or why it is missing."""
    if not decision:
        return "Champion metrics appear here once the gate has compared the two models."
    if not decision.get("champion"):
        return "There was no champion to compare with."
    if not champion_metrics(decision):
        return "The champion was not compared with this model."
    return (
        "The champion was rescored on the same test documents, without those it was trained on, "
        "and on the labels that both models know."
    )


def asked(decision: Details | None) -> list[tuple[str, str]]:
    """What the test set was asked so far, and what difference it could have seen tonight."""
    known = (decision or {}).get("test_set")
    if not known:
        return []
    times = "once" if known["decisions"] == 1 else f"{known['decisions']} times"
    spent, share = (f"{100 * known[name]:.2g}%" for name in ("spent", "share"))
    needed = (
        f"{number(known['needed'])} points" if known["needed"] is not None else "no gain is enough"
    )
    rows = [
        ("Asked for a decision", f"{times} since {known['since']}"),
        ("Chance of any false promotion", f"{spent} so far, {share} over its life, at most"),
        (f"Gain in {known['objective']} needed tonight", needed),
    ]
    for gain, chance in known["power"].items():
        name = f"A model better by {100 * float(gain):g} points is recognized in"
        rows.append((name, f"{100 * chance:.0f}% of the cases"))
    return rows


def tiles(d: Details) -> list[dict[str, Any]]:
    """The numbers at the top, each compared with the baseline where there is one."""
    rows = {
        m["name"]: {
            row["name"]: row
            for row in d["slices"][m["name"]]
            if row["kind"] in ("all", "frequency")
        }
        for m in d["models"]
    }
    titles = {m["name"]: m["title"] for m in d["models"]}
    own, baseline = rows[d["models"][0]["name"]], rows.get("baseline")
    found = []
    for name, metric, title in TILES:
        if not own[name]["support"]:
            continue
        value, (low, high) = own[name][metric], own[name]["intervals"][metric]
        difference = None if baseline is None else value - baseline[name][metric]
        found.append(
            {
                "title": title,
                "value": number(value),
                "low": number(low),
                "high": number(high),
                "difference": None if difference is None else signed(difference),
                "up": (difference or 0) >= 0,
                "against": f"vs. {titles.get('baseline')}",
            }
        )
    return found


def ingredients(d: Details) -> dict[str, Any]:
    """The table of what brought what: its columns of F1, and its rows."""
    rows = []
    parts = [part for part in ("all", "TAIL") if part in d["ingredients"][0]["values"]]
    for row in d["ingredients"]:
        weight = "–" if not row["blend_weight"] else f"{row['blend_weight']:g}"
        name = "nothing" if row["without"] is None else INGREDIENTS[row["without"]]
        cells = [
            _ingredient_cell(d, row, part, metric)
            for part in (parts if row["values"] else ())
            for metric in METRICS
        ]
        left = row["title"] or _not_measured(d["summary"])
        rows.append({"without": name, "left": left, "weight": weight, "cells": cells})
    columns = [
        name if part == "all" else f"{part} {name[0].lower()}{name[1:]}"
        for part in parts
        for name in ("Micro-F1", "Macro-F1")
    ]
    return {"ingredient_columns": columns, "ingredient_rows": rows}


def _not_measured(summary: Details) -> str:
    """Why an ingredient's row has no figures."""
    if summary.get("kept_since"):
        return f"not tried this night: the loss is kept since {summary['kept_since']}"
    return "not measured: another encoder would have to be fine-tuned for it"


def _ingredient_cell(d: Details, row: Details, part: str, metric: str) -> dict[str, Any]:
    slices = d["slices"][d["models"][0]["name"]]
    small = any(
        one["greyed"]
        for one in slices
        if one["kind"] in ("all", "frequency") and one["name"] == part
    )
    difference = row["differences"][part][metric] if row["differences"] else None
    tone = ""
    if difference and not small:
        tone = "up" if difference[1] > 0 else "down" if difference[2] < 0 else ""
    value = row["values"][part][metric]
    return {"value": value, "difference": difference, "tone": tone, "small": small}


def matrix(d: Details) -> list[tuple[str, list[tuple[str, Details]]]]:
    """Label slice -> (model title, its row) per model: the total, the slices, overlays last."""
    found: dict[tuple[bool, str, str], list[tuple[str, Details]]] = {}
    for model in d["models"]:
        for row in d["slices"][model["name"]]:
            if row["of"] == "labels":
                key = (row["overlay"], row["kind"], row["name"])
                found.setdefault(key, []).append((model["title"], row))
    ordered = sorted(found.items(), key=lambda item: item[0][0])
    return [("All labels" if kind == "all" else name, rows) for (_, kind, name), rows in ordered]


def document_slices(d: Details) -> list[dict[str, Any]]:
    """The document slices of the model under report, by kind; why a kind is missing."""
    rows = [row for row in d["slices"][d["models"][0]["name"]] if row["of"] == "documents"]
    kinds = list(dict.fromkeys([*DOCUMENT_SLICES, *(row["kind"] for row in rows)]))
    found = []
    for kind in kinds:
        title = DOCUMENT_SLICES.get(kind, kind.removeprefix("metadata:").replace("_", " "))
        own = [row for row in rows if row["kind"] == kind]
        missing = f"The corpus has no {kind.removeprefix('metadata:')} column."
        found.append({"title": title, "rows": own, "missing": missing})
    return found


def label_rows(d: Details, max_labels: int) -> list[dict[str, Any]]:
    """The rows of the label table, most frequent first; at most `max_labels`, the worst of them."""
    rows = [dict(zip(d["labels"]["columns"], row, strict=True)) for row in d["labels"]["rows"]]
    if len(rows) > max_labels:
        rows = sorted(rows, key=lambda r: (-(r["fp"] + r["fn"]), r["label"]))[:max_labels]
    for row in rows:
        known = row["baseline_f1"] is not None
        row["over_baseline"] = row["f1"] - row["baseline_f1"] if known else None
        row["never"] = row["tp"] + row["fp"] == 0
        flags = {
            "never": row["never"],
            "zero": row["tp"] == 0,
            "lost": (row["over_baseline"] or 0) < 0,
        }
        row["flags"] = " ".join(name for name, holds in flags.items() if holds)
    return sorted(rows, key=lambda r: (-r["train"], r["label"]))


def tables(d: Details) -> dict[str, Any]:
    """The plain tables: dataset statistics, thresholds, split, findings."""
    statistics = [
        [
            part,
            s["documents"],
            s["labels"],
            *_spread(s["labels_per_document"]),
            *_spread(s["documents_per_label"]),
        ]
        for part, s in d["statistics"].items()
    ]
    return {
        "statistics_columns": [
            "Part",
            "Documents",
            "Labels",
            "Labels per document: mean",
            "median",
            "max",
            "Documents per label: mean",
            "median",
            "max",
        ],
        "statistics_rows": statistics,
        "threshold_rows": threshold_rows(d),
        **training(d["summary"]),
        **split_tables(d["split"]),
        **finding_tables(findings_of(d)),
    }


def threshold_rows(d: Details) -> list[list[Any]]:
    """Lowest, median and highest threshold per model and group; one row where all are equal."""
    rows = []
    for model in d["models"]:
        spread = d["thresholds"]["spread"][model["name"]]
        if len({value for values in spread.values() for value in values}) == 1:
            spread = {"all": next(iter(spread.values()))}
        weight = d["thresholds"]["blend_weight"][model["name"]] or None
        rows += [[model["title"], weight, group, *values] for group, values in spread.items()]
    return rows


def training(summary: Details) -> dict[str, Any]:
    """The training summary: the metrics of every loss tried as a table, the rest as facts."""
    tried, since = summary.get("val"), summary.get("kept_since")
    summary = {k: v for k, v in summary.items() if k != "kept_since"}
    if since:
        summary |= {"loss": f"{summary['loss']} (kept since {since}; no other tried this night)"}
    rows = list(tried.values()) if isinstance(tried, Mapping) else []
    if not all(isinstance(row, Mapping) for row in rows):
        return {"training_facts": summary, "training_columns": [], "training_rows": []}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {
        "training_facts": {k: v for k, v in summary.items() if not rows or k != "val"},
        "training_columns": columns,
        "training_rows": [[row.get(name) for name in columns] for row in rows],
    }


def version_facts(decision: Details | None) -> dict[str, Any]:
    """The tags of the registered version, as the decision quotes them."""
    challenger = (decision or {}).get("challenger") or {}
    tags = dict(challenger.get("tags") or {})
    return {"version": challenger.get("version"), **tags} if tags else {}


def _spread(spread: Details) -> list[Any]:
    return [spread.get("mean"), spread.get("median"), spread.get("max")]


def split_tables(split: Details) -> dict[str, Any]:
    """The split's main metrics beside those of the reference split, and all of its facts."""
    names = {
        "label_share_deviation": "Label share deviation",
        "ld": "LD",
        "rld": "rLD",
        "dcp": "DCP",
        "groups_apart": "Groups split between parts",
    }
    own, other = split.get("quality", {}), split.get("reference", {})
    rows = [[text, own.get(key), other.get(key)] for key, text in names.items() if key in own]
    across, theirs_across = (side.get("copies_across", {}) for side in (own, other))
    rows += [
        [f"Documents of test with {text} in another part", parts["test"],
         theirs_across.get(kind, {}).get("test")]
        for kind, text in {"exact": "a copy", "near": "a near-copy"}.items()
        if (parts := across.get(kind))
    ]  # fmt: skip
    for part, missing in own.get("missing", {}).items():
        theirs = other.get("missing", {}).get(part)
        rows.append(
            [f"Labels missing from {part}", len(missing), None if theirs is None else len(theirs)]
        )
    return {
        "split_columns": ["Measure", str(split.get("method", "split")), "scikit-multilearn"],
        "split_rows": rows,
        "split_facts": split,
    }


def findings_of(details: Details) -> Details:
    """What `validate` found; nothing, where the record has something else in its place."""
    found = details["findings"]
    return found if isinstance(found, Mapping) else {}


def finding_tables(findings: Details) -> dict[str, Any]:
    """The data checks that found something, and what reviews of suspects said."""
    rules = findings.get("rules", [])
    columns = ["Rule", "What it finds", "Policy", "Status", "Documents"]
    rows = [
        [r.get("code"), r.get("finds"), r.get("policy"), r.get("status"), r.get("count")]
        for r in rules
        if r.get("count")
    ]
    return {
        "findings_columns": columns,
        "findings_rows": rows,
        "reviews": findings.get("reviews"),
    }


def readable(drift: Details | None) -> Details | None:
    """The record, if it is about a champion and of the form that the page reads."""
    if not drift or drift.get("champion") is None:
        return None
    return drift if "reason" in drift or "watch" in drift else None


def drift_tables(drift: Details | None) -> dict[str, Any]:
    """Every PSI, every mean of the reference beside that of the new documents, the champion."""
    if not drift or "psi" not in drift:
        return {}
    rows = [
        {
            "title": _title(name),
            "value": f"{max(0.0, row['psi']):.2f}",
            "bounds": f"{row['low']:.2f}–{row['high']:.2f}",
            "q": f"{row['q']:.2g}",
        }
        for name, row in drift["psi"].items()
    ]
    means = [
        [_title(name), mean["reference"], mean["new"]] for name, mean in drift["means"].items()
    ]
    return {"psi_rows": rows, "means_rows": means, "champion_tiles": champion_tiles(drift)}


def champion_tiles(drift: Details) -> list[dict[str, Any]]:
    """The champion's score at promotion, on later documents, and as its own scores estimate it."""
    watch = drift["watch"]
    found = [_tile("At promotion", watch["promoted"], None, "on its test set")]
    measured = watch["measured"]
    if measured:
        bounds = f"{number(measured['low'])}–{number(measured['high'])}, "
        note = f"{bounds if measured['enough'] else ''}{measured['n_docs']:,} documents"
        found.append(_tile("On later documents", measured["micro_f1"], watch["promoted"], note))
    for title, name in (
        ("Estimated for these", "estimated"),
        ("Estimated without labels", "unlabeled"),
    ):
        if watch[name]:
            note = f"{watch[name]['n_docs']:,} documents"
            found.append(
                _tile(title, watch[name]["micro_f1"], watch["estimated_at_promotion"], note)
            )
    return found


def _tile(title: str, value: float | None, before: float | None, note: str) -> dict[str, Any]:
    difference = None if value is None or before is None else value - before
    return {
        "title": title,
        "value": number(value),
        "difference": None if difference is None else signed(difference),
        "up": (difference or 0) >= 0,
        "note": note,
    }


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
