"""What the page shows, in the shape that its templates want."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

from longtail.frequency import FREQUENCY_GROUPS
from longtail.report.sections import DOCUMENT_SLICES

Details = Mapping[str, Any]
BARE = ("labels_with_f1", "hamming_loss")  # not shares of one: shown as they are
GOOD, BAD = {"promoted", "passed"}, {"refused", "failed", "rolled back", "error"}
MAX_ITEMS = 40
ROUGH = 0.25  # share of what there is to explain that attributions may miss
TILES = (("all", "micro_f1", "Micro-F1"), ("all", "macro_f1", "Macro-F1"),
         ("TAIL", "micro_f1", "TAIL micro-F1"), ("TAIL", "macro_f1", "TAIL macro-F1"))  # fmt: skip


def number(value: float | None, plain: bool = False) -> str:
    """A share in per cent with one decimal; `plain`: a number as it is; a dash for None."""
    if value is None:
        return "–"
    if not plain:
        return f"{100 * value:.1f}"
    return f"{value:.0f}" if abs(value) >= 2 else f"{value:.4f}"


def signed(value: float | None) -> str:
    """A difference of shares in points, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def percent(value: float) -> str:
    """A share in per cent without needless decimals."""
    return f"{100 * value:g}"


def measure(value: float | None, rule: Details) -> str:
    """A value of a rule: F1 and its kin in per cent, seconds and megabytes as they are."""
    if value is None or isinstance(value, str):
        return value or "–"
    metric = str(rule.get("metric") or "")
    share = any(part in metric for part in ("f1", "precision", "recall", "shared"))
    return number(value) if share else f"{value:.4g}"


def plain(value: Any) -> str:
    """Any JSON value as one line of text, lists cut after `MAX_ITEMS`."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        more = f" … ({len(value)} in all)" if len(value) > MAX_ITEMS else ""
        return (", ".join(plain(v) for v in value[:MAX_ITEMS]) or "none") + more
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items())
    return str(value)


def moment(text: str) -> str:
    """An ISO 8601 moment as people read it, other text as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d).*?(?:\+00:00|Z)", text)
    return f"{found[1]} {found[2]} UTC" if found else text


def tone(verdict: str | None) -> str:
    """The colour class of a verdict."""
    return "up" if verdict in GOOD else "down" if verdict in BAD else ""


def words(pieces: list[list[Any]]) -> Markup:
    """Attributed text: words tinted by attribution, relative to the strongest one."""
    strongest = max((abs(v) for _, v in pieces if v is not None), default=0.0) or 1.0
    parts = []
    for text, value in pieces:
        share = 0.0 if value is None else value / strongest
        if abs(share) < 0.05:
            parts.append(escape(text))
            continue
        parts.append(
            Markup('<i class="{}" style="--a:{:.2f}" title="{:+.2f}">{}</i>').format(
                "p" if share > 0 else "n", abs(share), value, text
            )
        )
    return Markup("").join(parts)


def prediction_tags(document: Details) -> Markup:
    """The predicted labels, right and wrong ones apart."""
    right = set(document["labels"])
    tags = [
        Markup('<span class="tag {}"><bdi>{}</bdi></span>').format(
            "right" if label in right else "wrong", label
        )
        for label in document["predicted"]
    ]
    return Markup("").join(tags) or Markup("none")


def convergence(attribution: Details) -> str:
    """The convergence error relative to what there is to explain."""
    whole = abs(attribution["logit"] - attribution["baseline_logit"])
    if whole <= 1e-6:
        return ""
    share = attribution["gap"] / whole
    rough = "; too rough to rely on, more attribution_steps help" if share > ROUGH else ""
    return f" ({100 * share:.1f} % of it{rough})"


FORMATS: dict[str, Callable[..., Any]] = {
    "number": number,
    "signed": signed,
    "percent": percent,
    "measure": measure,
    "plain": plain,
    "tone": tone,
    "words": words,
    "prediction_tags": prediction_tags,
    "convergence": convergence,
}


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))


def completed(decision: Details | None) -> dict[str, Any] | None:
    """The decision with every key that the page reads, so that an older file still renders."""
    if not decision:
        return None
    keys = (
        "rule",
        "metric",
        "slice",
        "champion",
        "challenger",
        "difference",
        "interval",
        "limit",
        "verdict",
        "reason",
    )
    whole = dict.fromkeys(("champion", "labels_added", "labels_removed")) | dict(decision)
    whole["rules"] = [dict.fromkeys(keys) | dict(r) for r in decision.get("rules") or ()]
    return whole


def verdict(decision: Details | None) -> dict[str, str]:
    """Title, text and colour of the decision."""
    if not decision:
        return {
            "title": "Not decided yet",
            "tone": "",
            "text": "The promotion gate has not judged this model; make run does, or "
            "python -m components.promote decide.",
        }
    word = str(decision.get("verdict") or "unknown")
    tone = "good" if word in GOOD else "bad" if word in BAD else ""
    text = str(decision.get("summary") or "")
    if decision.get("decided_at"):
        text += f" Decided {moment(str(decision['decided_at']))}."
    return {"title": word[:1].upper() + word[1:], "tone": tone, "text": text}


def champion_values(decision: Details | None) -> dict[str, tuple[Any, Any, Any]]:
    """Metric -> (value, low, high) of the champion on all labels, as the decision gives them.

    `decision["champion"]["metrics"]` if it is there (numbers, or [value, low, high]), else the
    rules that compare with the champion.
    """
    if not decision or not decision.get("champion"):
        return {}
    found: dict[str, tuple[Any, Any, Any]] = {
        rule["metric"]: (rule["champion"], None, None)
        for rule in decision.get("rules", [])
        if rule.get("rule") == "gain"
        and rule.get("slice") == "all"
        and rule.get("champion") is not None
    }
    for metric, value in (decision["champion"].get("metrics") or {}).items():
        if isinstance(value, (list, tuple)):
            found[metric] = (value[0], value[1], value[2])
        elif isinstance(value, (int, float)):
            found[metric] = (value, None, None)
    return found


def champion_note(decision: Details | None) -> str:
    """What the column of the champion means."""
    if not decision:
        return "The champion's figures appear here once the gate has compared the two."
    if not decision.get("champion"):
        return "There was no champion to compare with."
    return (
        "The champion was scored again on the same test documents, without those it was "
        "trained on, and on the labels that both models know."
    )


def tiles(d: Details) -> list[dict[str, Any]]:
    """The four numbers at the top, each against the baseline where there is one."""
    rows = {
        m["name"]: {
            row["name"]: row
            for row in d["slices"][m["name"]]
            if row["kind"] in ("all", "frequency")
        }
        for m in d["models"]
    }
    own, title = d["models"][0]["name"], {m["name"]: m["title"] for m in d["models"]}
    found = []
    for name, metric, text in TILES:
        value, (low, high) = rows[own][name][metric], rows[own][name]["intervals"][metric]
        if not rows[own][name]["support"]:
            continue
        known = "baseline" in rows
        difference = value - rows["baseline"][name][metric] if known else None
        found.append(
            {
                "title": text,
                "value": number(value),
                "low": number(low),
                "high": number(high),
                "difference": None if difference is None else signed(difference),
                "up": (difference or 0) >= 0,
                "against": f"against {title.get('baseline')}",
            }
        )
    return found


def matrix(d: Details) -> list[tuple[str, list[tuple[str, Details]]]]:
    """Slice -> (model title, row of the slice table), with the total first and ZERO last."""
    order = ("all", *FREQUENCY_GROUPS, "ZERO")
    kinds = ("all", "frequency", "zero")
    found = []
    for name in order:
        rows = [
            (m["title"], row)
            for m in d["models"]
            for row in d["slices"][m["name"]]
            if row["kind"] in kinds and row["name"] == name
        ]
        found.append(("All labels" if name == "all" else name, rows))
    return found


def document_slices(d: Details) -> list[dict[str, Any]]:
    """The slices of documents of the model under report, by kind; why one is not there."""
    rows = [row for row in d["slices"][d["models"][0]["name"]] if row["of"] == "documents"]
    kinds = list(dict.fromkeys([*DOCUMENT_SLICES, *(row["kind"] for row in rows)]))
    found = []
    for kind in kinds:
        title = DOCUMENT_SLICES.get(kind, kind.removeprefix("metadata:"))
        own = [row for row in rows if row["kind"] == kind]
        missing = f"The corpus has no column for this ({kind.removeprefix('metadata:')})."
        found.append({"title": title, "rows": own, "missing": missing})
    return found


def label_rows(
    d: Details, decision: Details | None, max_labels: int
) -> tuple[list[dict[str, Any]], str]:
    """The rows of the label table, and the sentence that says which labels they are."""
    champion = ((decision or {}).get("champion") or {}).get("label_f1") or {}
    rows = [dict(zip(d["labels"]["columns"], row, strict=True)) for row in d["labels"]["rows"]]
    note = f"All {len(rows)} labels."
    if len(rows) > max_labels:
        note = (
            f"{max_labels} of {len(rows)} labels: those with most errors. "
            "labels.csv beside the figures has them all."
        )
        rows = sorted(rows, key=lambda r: (-(r["fp"] + r["fn"]), r["label"]))[:max_labels]
    for row in sorted(rows, key=lambda r: (-r["train"], r["label"])):
        row["over_baseline"] = _minus(row["f1"], row["baseline_f1"])
        row["over_champion"] = _minus(row["f1"], champion.get(row["label"]))
        row["never"] = row["tp"] + row["fp"] == 0
        lost = row["over_champion"] if champion else row["over_baseline"]
        flags = {"never": row["never"], "zero": row["tp"] == 0, "lost": (lost or 0) < 0}
        row["flags"] = " ".join(name for name, holds in flags.items() if holds)
    return sorted(rows, key=lambda r: (-r["train"], r["label"])), note


def _minus(value: float, other: float | None) -> float | None:
    return None if other is None else value - other


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
        **finding_tables(d["findings"]),
    }


def threshold_rows(d: Details) -> list[list[Any]]:
    """Lowest, middle and highest threshold per model and group; one row where all are the same."""
    rows = []
    for model in d["models"]:
        spread = d["thresholds"]["spread"][model["name"]]
        if len({value for values in spread.values() for value in values}) == 1:
            spread = {"all": next(iter(spread.values()))}
        rows += [[model["title"], group, *values] for group, values in spread.items()]
    return rows


def training(summary: Details) -> dict[str, Any]:
    """The summary of train: the figures of every loss tried as a table, the rest as facts."""
    tried = summary.get("val")
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
    """The split's headline figures beside those of the reference, and all of them."""
    names = {
        "label_share_deviation": "Deviation of label shares",
        "ld": "LD",
        "rld": "rLD",
        "dcp": "DCP",
        "groups_apart": "Groups apart",
    }
    own, other = split.get("quality", {}), split.get("reference", {})
    rows = [[text, own.get(key), other.get(key)] for key, text in names.items() if key in own]
    for part, missing in own.get("missing", {}).items():
        theirs = other.get("missing", {}).get(part)
        rows.append(
            [f"Labels missing in {part}", len(missing), None if theirs is None else len(theirs)]
        )
    return {
        "split_columns": ["Measure", str(split.get("method", "split")), "scikit-multilearn"],
        "split_rows": rows,
        "split_facts": split,
    }


def finding_tables(findings: Any) -> dict[str, Any]:
    """The rules of the data checks that found something."""
    rules = findings.get("rules", []) if isinstance(findings, Mapping) else []
    columns = ["Rule", "Finds", "Policy", "Status", "Documents"]
    rows = [
        [r.get("code"), r.get("finds"), r.get("policy"), r.get("status"), r.get("count")]
        for r in rules
        if r.get("count")
    ]
    return {"findings_columns": columns, "findings_rows": rows}
