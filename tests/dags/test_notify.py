"""What the notifications say: only what the commands wrote or a person answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from dags._notify import FAILED, Notify, outcome

PLANNED = ["newest", "record"]
DECIDED = {"verdict": "promoted", "summary": "By its total.", "hold": None, "approval": True}
ADA = {"id": "1", "name": "Ada"}


def reports(folder: Path, **files: Any) -> Path:
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports" / "decision.md").write_text("The table.\n")
    for name, content in files.items():
        (folder / "reports" / f"{name}.json").write_text(json.dumps(content))
    return folder


def applied(word: str) -> dict[str, str]:
    return {"outcome": word, "why": "The reason.", "version": "2", "champion": "1"}


def answer(option: str, person: dict[str, str] | None = None) -> dict[str, Any]:
    return {"chosen_options": [option], "responded_by_user": person}


@pytest.mark.parametrize(
    ("files", "said", "line"),
    [
        ({"outcome": applied("promoted")}, None, "promoted. By its total."),
        ({"outcome": applied("held")}, None, "held. The reason. The champion is version 1."),
        ({"outcome": applied("waiting")}, None, "waiting. The reason. The champion is version 1."),
        (
            {"outcome": applied("refused")}, answer("Approve", ADA),
            "passed the gate but was refused by `apply`. The reason. The champion is version 1.",
        ),
        ({}, answer("Reject", ADA), "not approved. Ada said no. By its total."),
        ({}, answer("Reject"), "not approved. Nobody answered in 12 hours. By its total."),
        ({}, None, "passed the gate. What became of it, `longtail history` tells. By its total."),
        ({"decision": DECIDED | {"verdict": "refused"}}, None, "refused. By its total."),
    ],
)  # fmt: skip
def test_the_end_of_a_night(tmp_path: Path, files: dict, said: Any, line: str) -> None:
    folder = reports(tmp_path, **({"decision": DECIDED} | files))
    assert outcome(folder, PLANNED, said) == f"longtail: {line}\n\nThe table."


def test_a_backfill_is_told_as_one(tmp_path: Path) -> None:
    assert outcome(tmp_path, PLANNED, None).startswith("longtail: backfilled.")


def test_a_failure_says_nothing_about_the_champion() -> None:
    assert "unchanged" not in FAILED.message


@pytest.fixture
def nightly() -> Any:
    """The DAG's module, imported when no store of other tests is set."""
    from dags import nightly_retraining

    return nightly_retraining


class TaskInstance:
    id = "0"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def xcom_pull(self, task_ids: str, key: str) -> dict[str, Any]:
        names = ("path", "key", "commit", "base", "tip")
        return dict.fromkeys(names, "") | {"path": str(self.folder)}


@pytest.fixture
def approve(nightly: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Runs the task; returns the request that it made, and what was notified."""
    told: list[str] = []
    asked: dict[str, Any] = {}
    monkeypatch.setattr(Notify, "notify", lambda self, _: told.append(self.message))
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **request: asked.update(request))

    def run(decision: dict[str, Any], approval: bool | None = None) -> tuple[dict, list[str], Any]:
        instance = TaskInstance(reports(tmp_path, decision=decision))
        context = {"ti": instance, "task_instance": instance, "params": {"approval": approval}}
        with pytest.raises(TaskAwaitingInput) as caught:
            nightly.approve.execute(context)
        return asked, told, caught.value

    return run


def test_waiting_shows_the_decision_and_is_told(nightly: Any, approve: Any) -> None:
    asked, told, waits = approve(DECIDED)
    assert asked["body"] == "The table.\n"
    assert told[0].startswith(
        "longtail: waits for approval. By its total. Answer in Airflow within"
    )
    assert told[0].endswith("The table.\n")
    assert waits.timeout == nightly.approve.response_timeout


def test_no_answer_in_time_is_a_no_and_ends_the_waiting(
    nightly: Any, approve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a default answer, Airflow resumes the task; without one it fails, and is retried."""
    asked, _, _ = approve(DECIDED)
    assert asked["defaults"] == ["Reject"]
    skipped: list[str] = []
    skip = lambda ti, tasks: skipped.extend(t.task_id for t in tasks)  # noqa: E731
    monkeypatch.setattr(type(nightly.approve), "skip", staticmethod(skip))
    event = answer("Reject") | {
        "params_input": {},
        "responded_at": datetime.now(UTC),
        "timedout": True,
    }
    found = nightly.approve.execute_complete({"ti": None, "task": nightly.approve}, event)
    assert skipped == ["apply"] and found["responded_by_user"] is None


@pytest.mark.parametrize(
    ("decision", "approval"),
    [
        (DECIDED | {"approval": False}, True),  # `decide` has seen the form too
        ({"verdict": "promoted", "summary": ""}, None),
        (DECIDED | {"hold": {"reason": "x"}}, None),
    ],
)
def test_nobody_is_asked_in_vain(approve: Any, decision: dict, approval: bool | None) -> None:
    with pytest.raises(AirflowSkipException):
        approve(decision, approval)


@pytest.mark.parametrize(("approval", "variable"), [(True, "yes"), (False, "no"), (None, "")])
def test_the_form_reaches_decide(nightly: Any, approval: bool | None, variable: str) -> None:
    import jinja2

    template = nightly.decide.env["LONGTAIL_APPROVAL"]
    assert jinja2.Template(template).render(params={"approval": approval}) == variable
    assert jinja2.Template(template).render(params={}) == ""
