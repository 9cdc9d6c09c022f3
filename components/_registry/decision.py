"""Decides whether the registered challenger replaces the champion."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from components._formats.json_file import read_json
from components._formats.labels_file import FILE, read_allowed
from components._registry import approval, evidence, test_set
from components._registry import client as registry
from components._registry import contest as contests
from components._registry import decision_record as record
from components._registry.rules import Limits, Params
from components._registry.smoke import Smoke, smoke
from longtail import gate
from longtail.errors import DataError
from longtail.validation.label_history import Fates

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

UNITS = {"seconds_per_doc": "s", "start_seconds": "s", "memory_mb": "MB", "size_mb": "MB"}


def decide(client: MlflowClient, params: Params, *, rebase: bool = False) -> dict[str, Any]:
    """Judge the version in `reports/registered.json` and write the decision.

    The same question gets the recorded answer: as long as challenger, champion, rules and marks are
    the same, nothing is scored again. What else stops a promotion (a hold, a missing approval) is
    no part of the answer, and is looked up every time.

    Args:
        client: of the registry.
        params: the rules.
        rebase: judge without the champion, because the label set was changed on purpose.
    """
    challenger, champion = _sides(client)
    facts = _facts(client, challenger, champion)
    rules = params.rules(read_json(evidence.SUMMARY, keys={"objective": str})["objective"])
    history = read_allowed(FILE).fates
    question = _question(challenger, champion, facts, params, rules.objective, rebase, history)
    past = record.read()
    if past.get("question") == question:
        decision = past
    elif registry.number(champion) == registry.number(challenger):
        decision = _unchanged(challenger, past)
    else:
        tonight = _Tonight(client, question, rules, params, rebase, history)
        decision = _judged(tonight, challenger, champion, facts)
    decision = decision | _brakes(client, challenger, decision, params)
    decision |= {"question": question, "model_name": challenger.name}
    # The report's page shows where the version came from.
    decision["challenger"] = decision["challenger"] | {"tags": dict(challenger.tags)}
    if decision == past:
        record.refresh_page(past)
    else:
        record.write(client, challenger, decision)
    return record.read()


def _brakes(
    client: MlflowClient, challenger: ModelVersion, decision: dict[str, Any], params: Params
) -> dict[str, Any]:
    """What stops a promotion besides the rules: a hold, or the approval that it needs."""
    passed = decision["verdict"] == "promoted"
    needed = passed and approval.needed(challenger, params.approval)
    if needed:
        approval.ask(client, challenger, decision["decision_id"])
    return {"hold": registry.held(client, challenger.name), "approval": needed}


def _sides(client: MlflowClient) -> tuple[ModelVersion, ModelVersion | None]:
    """The registered challenger and the current champion."""
    keys = {"name": str, "version": str}
    registered = read_json(evidence.REGISTERED, maker="longtail register", keys=keys)
    name = registered["name"]
    challenger = registry.by_number(client, name, registered["version"])
    if challenger is None:
        raise DataError(
            f"Version {registered['version']} of {name} is gone from the registry; run "
            "`longtail register` again."
        )
    return challenger, registry.by_alias(client, name, registry.CHAMPION)


def _facts(
    client: MlflowClient, challenger: ModelVersion, champion: ModelVersion | None
) -> list[gate.Line]:
    """What must be true before any score is read."""
    missing = [tag for tag in registry.REQUIRED_TAGS if not challenger.tags.get(tag)]
    tags = f"The version lacks tags: {', '.join(missing)}." if missing else "All tags are present."
    lines = [gate.fact("tags", not missing, tags)]
    mark = challenger.tags.get(registry.ROLLED_BACK)
    if mark:
        reason = f"It was rolled back ({mark}) and is never promoted again automatically."
        lines.append(gate.fact("rolled_back", False, reason))
    entries = registry.history(client, challenger.name)
    if champion is None and entries:
        reason = (
            f"The alias is not set; version {entries[-1]['to']} was the last champion. "
            "Judged as a first version."
        )
        lines.append(gate.Line("champion", gate.REPORTED, reason))
    return lines


def _question(
    challenger: ModelVersion,
    champion: ModelVersion | None,
    facts: list[gate.Line],
    params: Params,
    objective: str,
    rebase: bool,
    fates: Fates,
) -> str:
    """The digest of everything that the answer depends on."""
    numbers = [registry.number(version) for version in (challenger, champion)]
    key = challenger.tags.get(registry.KEY)
    rules = params.model_dump(exclude={"approval"})
    asked = [numbers, key, facts, rebase, objective, rules, *sorted(fates.items())]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class _Tonight:
    """What a decision is made with."""

    client: MlflowClient
    question: str
    rules: gate.Rules
    params: Params
    rebase: bool
    fates: Fates


def _judged(
    tonight: _Tonight,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    facts: list[gate.Line],
) -> dict[str, Any]:
    """Apply the rules in order, and stop after the first group of rules that fails."""
    lines, contest = list(facts), None
    test_record: dict[str, Any] = {}
    if gate.passed(lines):
        opponent = None if tonight.rebase else champion
        int8 = tonight.params.limits.max_int8_loss
        contest, ids, found = contests.prepare(challenger, opponent, int8, tonight.fates)
        lines += found
        if gate.passed(lines):
            contest, test_record = _asked(tonight, challenger.name, contest, ids)
            lines += [_advised(line) for line in gate.judge(contest, tonight.rules)]
    if gate.passed(lines):
        lines += smoke_lines(challenger, tonight.params.limits)
    added, removed = contest.label_changes if contest else ([], [])
    compared = contest.champion if contest else None
    return {
        "verdict": "promoted" if gate.passed(lines) else "refused",
        "challenger": {
            "version": registry.number(challenger),
            "metrics": contests.challenger_metrics(contest) if contest else {},
        },
        "champion": champion
        and {"version": registry.number(champion), "metrics": contests.champion_metrics(lines)},
        "rules": [asdict(line) for line in lines],
        "summary": gate.summary(lines),
        "rebase": tonight.rebase,
        "overlap": int(compared.seen.sum()) if compared else 0,
        "labels_added": added,
        "labels_removed": removed,
        "labels_mapped": dict(compared.mapped) if compared else {},
        "labels_left_out": list(compared.left_out) if compared else [],
        "test_set": test_record,
        **_stamp(),
    }


def _asked(
    tonight: _Tonight, name: str, contest: gate.Contest, ids: list[str]
) -> tuple[gate.Contest, dict[str, Any]]:
    """Count tonight's question; the contest with what the test set was asked before."""
    if contest.comparison is None:
        return contest, {}
    before, since = test_set.asked(tonight.client, name, ids, tonight.question)
    contest = replace(contest, asked=before)
    answer = gate.answered(contest, tonight.rules)
    # Before anybody can read the answer, so that no crash makes a question free.
    test_set.record(tonight.client, name, ids, tonight.question, before, answer.after)
    return contest, {
        "decisions": answer.after.decisions,
        "since": since,
        "objective": tonight.rules.objective,
        "needed": tonight.rules.min_gain + answer.bound if isfinite(answer.bound) else None,
        "power": {str(gain): chance for gain, chance in answer.power.items()},
        "spent": tonight.rules.error_budget.spent(answer.after.decisions),
        "share": tonight.rules.error_budget.share,
    }


def _advised(line: gate.Line) -> gate.Line:
    """Add the command to run if too many labels are gone."""
    if line.rule == "labels" and line.verdict == gate.FAILED:
        reason = f"{line.reason.removesuffix('.')}: `longtail promote decide --rebase`."
        return replace(line, reason=reason)
    return line


def smoked(version: ModelVersion) -> Smoke:
    """Smoke-test a version in a fresh process."""
    sample = evidence.read_sample(str(version.run_id))
    return smoke(f"models:/{version.name}/{version.version}", sample)


def smoke_lines(version: ModelVersion, limits: Limits) -> list[gate.Line]:
    """Smoke-test a version, and compare what was measured with the limits."""
    found = smoked(version)
    reason = " ".join(found.faults) or "A fresh process loads the version and answers as expected."
    lines = [gate.fact("smoke", not found.faults, reason)]
    for name, value in found.measured.items():
        lines.append(gate.measured(name, value, getattr(limits, name), UNITS[name]))
    return lines


def _unchanged(version: ModelVersion, past: dict[str, Any]) -> dict[str, Any]:
    """The challenger is already the champion: there is nothing to decide, so keep the decision."""
    number = registry.number(version)
    kept = past if past.get("challenger", {}).get("version") == number else {}
    side = {"version": number, "metrics": kept.get("challenger", {}).get("metrics", {})}
    summary = f"Version {number} is already the champion: the same data, code and parameters."
    empty = {"rules": [], "rebase": False, "overlap": 0, "labels_added": [], "labels_removed": [],
             "labels_mapped": {}, "labels_left_out": []}  # fmt: skip
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
