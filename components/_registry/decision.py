"""Decide whether the registered challenger replaces the champion, and write the decision down."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from rich.progress import track

from components._frame.files import written
from components._frame.params import Section
from components._registry import client as registry
from components._registry import evidence
from components._registry.evidence import IncomparableError
from components._registry.smoke import smoke
from components._registry.worker import Served, ServedError
from longtail import gate
from longtail.errors import DataError
from longtail.evaluation.metrics import apply_thresholds, compute
from longtail.label_matrix import encode

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DECISION, MARKDOWN = Path("reports/decision.json"), Path("reports/decision.md")
DETAILS, PAGE = Path("reports/report.json"), Path("reports/decision.html")
BATCH = 256
UNITS = {"seconds_per_doc": "s", "start_seconds": "s", "memory_mb": "MB", "size_mb": "MB"}


class Limits(Section):
    """What the served model may cost, measured in a fresh process."""

    seconds_per_doc: float = Field(gt=0, description="Seconds per document, one at a time, median.")
    start_seconds: float = Field(gt=0, description="Seconds from start to readiness.")
    memory_mb: float = Field(gt=0, description="Peak resident memory, MB.")
    size_mb: float = Field(gt=0, description="Size of the version's files, MB.")


class Params(Section):
    """The rules of the gate; F1 values are fractions."""

    primary_metric: str = Field(description="Set metric that the gain is judged on.")
    min_gain: float = Field(ge=-1, le=1, description="Least gain, lower bound of the interval.")
    max_loss: dict[str, float] = Field(description="Label group: largest loss of micro-F1.")
    floors: dict[str, float] = Field(description="Metric: least value of the challenger.")
    over_baseline: dict[str, float] = Field(description="Metric: least difference, lower bound.")
    min_shared_labels: float = Field(ge=0, le=1, description="Least share of labels kept.")
    min_support: int = Field(ge=1, description="Positives a group needs to decide.")
    n_draws: int = Field(ge=1000, le=100_000, description="Bootstrap draws.")
    level: float = Field(gt=0.5, lt=1, description="Coverage of the intervals.")
    seed: int = Field(ge=0, description="Seed of the draws.")
    max_int8_loss: dict[str, float] = Field(
        description="Metric: largest loss of an int8 version to the model it was made of."
    )
    limits: Limits

    def rules(self) -> gate.Rules:
        """The part of the parameters that the pure gate reads."""
        return gate.Rules(**self.model_dump(exclude={"limits", "max_int8_loss"}))


def decide(client: MlflowClient, params: Params, *, rebase: bool = False) -> dict[str, Any]:
    """Judge the version of `reports/registered.json` and write the decision.

    The same question gets the recorded answer: nothing is scored again as long as challenger,
    champion, rules and marks are the same.
    """
    registered = evidence.read_json(evidence.REGISTERED)
    name = registered["name"]
    challenger = registry.by_number(client, name, registered["version"])
    if challenger is None:
        raise DataError(
            f"Version {registered['version']} of {name} is gone from the registry; run "
            "`python -m components.register` again."
        )
    champion = registry.by_alias(client, name, registry.CHAMPION)
    facts = _facts(client, challenger, champion)
    numbers = [registry.number(version) for version in (challenger, champion)]
    key = challenger.tags.get(registry.KEY)
    question = _digest([numbers, key, facts, rebase, params.model_dump()])
    past = evidence.read_json(DECISION) if DECISION.exists() else {}
    if past.get("question") == question:
        if _page_is_old():
            _render(past)
        return past
    if registry.number(champion) == registry.number(challenger):
        decision = _unchanged(challenger, past)
    else:
        decision = _judged(challenger, champion, facts, params, rebase)
    decision |= {"question": question, "model_name": name}
    # The report's page shows where the version came from.
    decision["challenger"] = decision["challenger"] | {"tags": dict(challenger.tags)}
    _write(client, challenger, decision)
    return evidence.read_json(DECISION)


def _facts(
    client: MlflowClient, challenger: ModelVersion, champion: ModelVersion | None
) -> list[gate.Line]:
    """What must be so before any score is looked at."""
    missing = [tag for tag in registry.REQUIRED_TAGS if not challenger.tags.get(tag)]
    lines = [
        gate.fact(
            "tags",
            not missing,
            f"The version lacks {', '.join(missing)}." if missing else "All tags are there.",
        )
    ]
    mark = challenger.tags.get(registry.ROLLED_BACK)
    if mark:
        reason = f"It was rolled back ({mark}) and is never promoted again by itself."
        lines.append(gate.fact("rolled_back", False, reason))
    entries = registry.history(client, challenger.name)
    if champion is None and entries:
        reason = (
            f"The alias points to nothing; version {entries[-1]['to']} was the last champion. "
            "Judged as a first version."
        )
        lines.append(gate.Line("champion", gate.REPORTED, reason))
    return lines


def _judged(
    challenger: ModelVersion,
    champion: ModelVersion | None,
    lines: list[gate.Line],
    params: Params,
    rebase: bool,
) -> dict[str, Any]:
    contest, overlap = None, 0
    if gate.passed(lines):
        contest = _contest()
        if challenger.tags[registry.RUNTIME] == "onnx_int8":
            contest, cost = _quantised(contest, challenger, params.max_int8_loss)
            lines = [*lines, *cost]
        if champion is not None and not rebase:
            try:
                against = _champion(champion, evidence.test_scores()[0].ids)
                contest = replace(contest, champion=against)
            except (ServedError, IncomparableError) as error:
                lines = [*lines, gate.fact("champion", False, f"It cannot be compared: {error}")]
    if contest is not None and gate.passed(lines):
        overlap = int(contest.champion.seen.sum()) if contest.champion else 0
        lines = lines + gate.judge(contest, params.rules())
    if gate.passed(lines):
        lines = lines + smoke_lines(challenger, params.limits)
    added, removed = gate.label_changes(contest) if contest else ([], [])
    return {
        "verdict": "promoted" if gate.passed(lines) else "refused",
        "challenger": {
            "version": registry.number(challenger),
            "metrics": _challenger_metrics(contest) if contest else {},
        },
        "champion": champion
        and {"version": registry.number(champion), "metrics": _champion_metrics(lines)},
        "rules": [asdict(line) for line in lines],
        "summary": gate.summary(lines),
        "rebase": rebase,
        "overlap": overlap,
        "labels_added": added,
        "labels_removed": removed,
        **_stamp(),
    }


def smoke_lines(version: ModelVersion, limits: Limits) -> list[gate.Line]:
    """The smoke test of a version in a fresh process, and what it measured against the limits."""
    sample = evidence.read_sample(str(version.run_id))
    found = smoke(f"models:/{version.name}/{version.version}", sample, version.tags[registry.FILES])
    reason = " ".join(found.faults) or "A fresh process loads the version and answers as it should."
    lines = [gate.fact("smoke", not found.faults, reason)]
    for name, value in found.measured.items():
        lines.append(gate.measured(name, value, getattr(limits, name), UNITS[name]))
    return lines


def _contest() -> gate.Contest:
    """The workspace's test set as challenger and baseline predict it; no champion yet."""
    model, baseline = evidence.test_scores()
    thresholds = evidence.read_json(evidence.THRESHOLDS)["models"]
    frequencies = evidence.read_json(evidence.FREQUENCIES)
    if not (model.labels == baseline.labels == frequencies["labels"]):
        raise DataError("Scores and frequencies differ in their labels; run `dvc repro`.")
    return gate.Contest(
        labels=model.labels,
        groups=frequencies["groups"],
        targets=model.targets,
        challenger=apply_thresholds(model.scores, thresholds["model"]["thresholds"]),
        baseline=apply_thresholds(baseline.scores, thresholds["baseline"]["thresholds"]),
    )


def _quantised(
    contest: gate.Contest, challenger: ModelVersion, max_loss: dict[str, float]
) -> tuple[gate.Contest, list[gate.Line]]:
    """The challenger as it is served, and what that costs against the model it was made of."""
    texts = evidence.texts_of(evidence.test_scores()[0].ids)
    try:
        predicted, _ = _predictions(challenger, texts)
    except ServedError as error:
        return contest, [gate.fact("int8", False, f"It does not answer: {error}")]
    lines = gate.quantised(predicted, contest.challenger, contest.targets, max_loss)
    return replace(contest, challenger=predicted), lines


def _predictions(version: ModelVersion, texts: Sequence[str]) -> tuple[sp.csr_matrix, list[str]]:
    """0/1 CSR `(n_docs, n_labels)` of the version as it is served, and its labels."""
    with Served(f"models:/{version.name}/{version.version}") as model:
        starts = track(range(0, len(texts), BATCH), "scoring", transient=True)
        batches = [model.ask(texts[start : start + BATCH]).labels for start in starts]
        labels = list(model.labels)
    return encode([row for batch in batches for row in batch], labels), labels


def _champion(champion: ModelVersion, ids: Sequence[str]) -> gate.Champion:
    digest = champion.tags.get("train_ids_digest")
    if not digest:
        raise IncomparableError("its tag train_ids_digest is missing; decide with --rebase.")
    known = evidence.read_seen_ids(str(champion.run_id), digest)
    seen = np.array([evidence.hashed(identifier) in known for identifier in ids], dtype=bool)
    fresh = np.flatnonzero(~seen)
    answers, labels = _predictions(champion, evidence.texts_of(np.asarray(ids)[fresh]))
    place = sp.csr_matrix(
        (np.ones(len(fresh), dtype=np.int8), (fresh, np.arange(len(fresh)))),
        shape=(len(ids), len(fresh)),
    )
    return gate.Champion((place @ answers).tocsr(), labels, seen)


def _challenger_metrics(contest: gate.Contest) -> dict[str, float]:
    found = {}
    for group in (gate.ALL, *dict.fromkeys(contest.groups)):
        columns = np.flatnonzero(np.isin(contest.groups, group) | (group == gate.ALL))
        for metric in ("micro_f1", "macro_f1"):
            key = metric if group == gate.ALL else f"{group}/{metric}"
            predicted, targets = contest.challenger[:, columns], contest.targets[:, columns]
            found[key] = compute(metric, predicted, targets)
    return found


def _champion_metrics(lines: Sequence[gate.Line]) -> dict[str, float]:
    """The champion's figures on the shared labels and the documents it has not seen."""
    return {
        line.metric if line.slice == gate.ALL else f"{line.slice}/{line.metric}": line.champion
        for line in lines
        if line.rule in ("gain", "loss") and line.champion is not None
    }


def _unchanged(version: ModelVersion, past: dict[str, Any]) -> dict[str, Any]:
    """The challenger is the champion: nothing to decide; what was decided then is kept."""
    number = registry.number(version)
    kept = past if past.get("challenger", {}).get("version") == number else {}
    side = {"version": number, "metrics": kept.get("challenger", {}).get("metrics", {})}
    summary = f"Version {number} is the champion already: the same data, code, parameters."
    empty = {"rules": [], "rebase": False, "overlap": 0, "labels_added": [], "labels_removed": []}
    return {
        **{name: kept.get(name, value) for name, value in empty.items()},
        "verdict": "unchanged",
        "challenger": side,
        "champion": side,
        "summary": summary,
        **({k: kept[k] for k in ("decided_at", "decision_id")} if kept else _stamp()),
    }


def _stamp() -> dict[str, str]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"decided_at": now, "decision_id": uuid.uuid4().hex}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _write(client: MlflowClient, challenger: ModelVersion, decision: dict[str, Any]) -> None:
    with written(DECISION) as path:
        path.write_text(json.dumps(decision, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    text = markdown(decision)
    with written(MARKDOWN) as path:
        path.write_text(text, encoding="utf-8")
    if decision["verdict"] != "unchanged":
        client.update_model_version(challenger.name, challenger.version, text)
    if DETAILS.exists():
        _render(decision)
        client.log_artifact(str(challenger.run_id), str(PAGE))


def _page_is_old() -> bool:
    """Whether the report was made again after the page with the decision."""
    if not DETAILS.exists():
        return False
    return not PAGE.exists() or PAGE.stat().st_mtime < DETAILS.stat().st_mtime


def _render(decision: dict[str, Any]) -> None:
    """The report page with the decision at its head, beside the page that the stage made."""
    from longtail.report.page.render import page

    with written(PAGE) as path:
        path.write_text(page(evidence.read_json(DETAILS), decision=decision), encoding="utf-8")


def markdown(decision: dict[str, Any]) -> str:
    """The decision as a table, one row a rule."""
    challenger, champion = decision["challenger"], decision["champion"]
    against = f"version {champion['version']}" if champion else "no champion"
    lines = [
        f"# Version {challenger['version']} against {against}: {decision['verdict']}",
        "",
        decision["summary"],
        "",
        "| rule | metric | slice | champion | challenger | difference | interval | limit "
        "| verdict | reason |",
        "|---|---|---|---:|---:|---:|---|---:|---|---|",
    ]
    lines += [_row(rule) for rule in decision["rules"]]
    if decision["labels_added"] or decision["labels_removed"]:
        lines += ["", f"Labels added: {', '.join(decision['labels_added']) or 'none'}."]
        lines += ["", f"Labels removed: {', '.join(decision['labels_removed']) or 'none'}."]
    if decision["overlap"]:
        lines += ["", f"{decision['overlap']} test documents left out: the champion has seen them."]
    return "\n".join([*lines, "", f"Decided {decision['decided_at']}, {decision['decision_id']}."])


def _row(rule: dict[str, Any]) -> str:
    interval = "–".join(_cell(bound) for bound in rule["interval"] or ())
    numbers = (_cell(rule[name]) for name in ("champion", "challenger", "difference"))
    cells = [rule["rule"], rule["metric"], rule["slice"], *numbers, interval]
    cells += [_cell(rule["limit"]), rule["verdict"], rule["reason"]]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
