"""Decide, apply, roll back, with real versions in a real registry (a SQLite file per test).

Fresh processes are replaced by loading in this process unless the test is about them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from typing import ClassVar
from unittest.mock import Mock

import mlflow
import numpy as np
import pytest
import yaml

from components import promote
from components._formats.scores import Scores
from components._frame.exit_codes import GateNotPassed, TemporaryError
from components._registry import champion as _champion
from components._registry import client as registry
from components._registry import contest, decision_record, evidence, test_set
from components._registry import decision as _decision
from components._registry.smoke import Smoke
from components._registry.worker import Answer, ServedError
from longtail import gate
from longtail.errors import DataError, ParameterError
from tests.builders.registry_bench import MEASURED, Bench
from tests.builders.registry_workspace import PARAMS, InProcess


def failed(decision: dict) -> list[tuple[str, str]]:
    rules = decision["rules"]
    return [(rule["rule"], rule["slice"]) for rule in rules if rule["verdict"] == gate.FAILED]


def test_the_first_version_then_a_better_one(bench: Bench):
    bench.promoted("middling")
    assert (bench.alias("champion"), bench.alias("previous_champion")) == ("1", None)
    decision = bench.decide("good")
    assert decision["verdict"] == "promoted"
    assert (
        decision["challenger"]["metrics"]["micro_f1"] > decision["champion"]["metrics"]["micro_f1"]
    )
    version = bench.client.get_model_version("longtail", "2")
    assert decision["challenger"]["tags"] == version.tags
    assert set(registry.REQUIRED_TAGS) <= set(version.tags)
    bench.apply()
    assert (bench.alias("champion"), bench.alias("previous_champion")) == ("2", "1")
    assert bench.history() == [("promote", None, "1"), ("promote", "1", "2")]
    entry = registry.history(bench.client, "longtail")[-1]
    assert (entry["decision_id"], entry["approved_by"]) == (decision["decision_id"], "Ada")
    lines = Path("reports/promotions.jsonl").read_text().splitlines()
    assert [json.loads(line)["to"] for line in lines] == ["1", "2"]


def test_the_champion_is_scored_again_and_agrees_with_its_own_workspace(bench: Bench):
    """The champion's metrics in a decision are those of its own test predictions."""
    own = bench.decide("good")["challenger"]["metrics"]["micro_f1"]
    bench.crown("2")
    decision = bench.decide("equal")
    assert decision["champion"]["metrics"]["micro_f1"] == pytest.approx(own, abs=1e-9)


@pytest.mark.parametrize("variant", ["poor", "equal"])
def test_worse_and_equal_versions_are_refused_with_exit_code_4(bench: Bench, variant: str):
    bench.crown("2")
    decision = bench.decide(variant)
    assert decision["verdict"] == "refused"
    assert ("gain", "all") in failed(decision)
    with pytest.raises(GateNotPassed):
        bench.apply()
    assert bench.alias("champion") == "2"


def test_the_decision_is_written_to_files_and_to_the_registry(bench: Bench):
    decision = bench.decide("middling")
    assert json.loads(Path("reports/decision.json").read_text()) == decision
    text = Path("reports/decision.md").read_text()
    assert decision["summary"] in text
    assert all(rule["reason"] in text for rule in decision["rules"])
    assert bench.client.get_model_version("longtail", "1").description == text


def test_nothing_of_the_corpus_is_markup_in_the_decision(bench: Bench):
    hostile = "<script>alert(1)</script> | [x](http://evil.example) ![y](z)\n# a"
    bench.decide("middling")
    decision = decision_record.read()
    decision |= {"labels_added": [hostile], "labels_removed": [hostile], "summary": hostile}
    decision |= {"labels_mapped": {hostile: [hostile]}, "labels_left_out": [hostile]}
    decision["hold"] = {"when": "now", "who": hostile, "reason": hostile}
    decision["rules"][0]["reason"] = hostile
    text = decision_record.markdown(decision)
    assert text.count("&lt;script") >= 5 and "<" not in text
    assert re.search(r"(?<!\\)\[|(?<!\\)\]|^# a", text, re.MULTILINE) is None
    assert {
        line.replace("\\|", "").count("|") for line in text.splitlines() if line[:1] == "|"
    } == {11}


def test_the_same_question_is_not_scored_again(bench: Bench):
    bench.crown("2")
    first = bench.decide("poor")
    bench.patch.setattr(contest, "Served", None)
    assert bench.decide("poor") == first


def test_the_champion_as_challenger_is_unchanged(bench: Bench):
    bench.promoted("middling")
    decision = bench.decide("middling")
    assert decision["verdict"] == "unchanged"
    assert decision["rules"], "the decision is kept"
    bench.apply()
    assert bench.history() == [("promote", None, "1")]


@pytest.mark.parametrize("tag", registry.REQUIRED_TAGS)
def test_a_missing_tag_is_refused_by_name(bench: Bench, tag: str):
    bench.client.delete_model_version_tag("longtail", "1", tag)
    decision = bench.decide("middling")
    assert failed(decision) == [("tags", "all")]
    assert tag in decision["summary"]


def test_documents_that_the_champion_has_seen_are_left_out(bench: Bench):
    """`leaking` has another split: it was trained on 60 of the current test documents."""
    bench.crown("6")
    assert bench.decide("good")["overlap"] == 60


def test_every_question_to_the_test_set_is_counted_once(bench: Bench):
    bench.crown("2")
    first = bench.decide("equal")["test_set"]
    assert first["decisions"] == 1
    assert list(first["power"]) == ["0.005", "0.01", "0.02"]
    Path("reports/decision.json").unlink()  # a killed run: the question is asked again
    again = bench.decide("equal")["test_set"]
    assert again == first
    other = bench.decide("poor")["test_set"]
    assert other["decisions"] == 2 and other["needed"] > 0
    assert bench.decide("equal", rebase=True)["test_set"] == {}  # the champion is not asked about
    assert bench.decide("middling")["test_set"]["decisions"] == 3


def test_the_registry_keeps_what_a_decision_spent(bench: Bench):
    bench.crown("2")
    bench.decide("poor")
    state = json.loads(bench.client.get_registered_model("longtail").tags["test_set"])
    assert (state["before"]["decisions"], state["after"]["decisions"]) == (0, 1)
    asked, since = test_set.asked(bench.client, "longtail", ids_of_test(), "another question")
    assert (asked.decisions, since) == (1, state["since"])
    assert asked.alarmed.sum() == 500  # share · 1 / (1 + half_life) of 10,000


def test_another_test_set_starts_its_own_budget(bench: Bench):
    bench.crown("2")
    bench.decide("poor")
    kept = [*ids_of_test()[:80], *(f"new{i}" for i in range(60))]
    gone = [*ids_of_test()[:40], *(f"new{i}" for i in range(100))]
    counts = [
        test_set.asked(bench.client, "longtail", ids, "q")[0].decisions for ids in (kept, gone)
    ]
    assert counts == [1, 0]


def test_a_damaged_count_is_one_sentence(bench: Bench):
    bench.crown("2")
    bench.client.set_registered_model_tag("longtail", "test_set", "{")
    with pytest.raises(DataError, match="'test_set' of longtail is not JSON.*delete the tag"):
        bench.decide("equal")


def ids_of_test() -> list[str]:
    """The ids of the workspace's test documents."""
    return evidence.test_scores()[0].ids


def test_no_unseen_document_is_a_refusal(bench: Bench):
    bench.crown("1")
    bench.patch.setattr(evidence, "read_seen_ids", lambda *_: _Everything())
    assert failed(bench.decide("good")) == [("sample", "all")]


class _Everything:
    def __contains__(self, item: object) -> bool:
        return True


@pytest.mark.parametrize("fault", ["changed", "missing"])
def test_evidence_that_does_not_match_is_refused(bench: Bench, fault: str):
    bench.crown("1")
    bench.client.delete_model_version_tag("longtail", "1", "train_ids_digest")
    if fault == "changed":
        bench.client.set_model_version_tag("longtail", "1", "train_ids_digest", "0" * 64)
    decision = bench.decide("good")
    assert failed(decision) == [("champion", "all")]
    assert {"changed": "seen_ids", "missing": "train_ids_digest"}[fault] in decision["summary"]


def test_labels_added_and_removed(bench: Bench):
    bench.crown("5")
    assert bench.decide("middling")["labels_added"] == ["gnu", "hen"]
    bench.crown("2")
    decision = bench.decide("narrow")
    assert decision["labels_removed"] == ["gnu", "hen"]


HISTORY = """
history:
  - {date: 2026-03-01, renamed: {fox: vixen}, reason: more precise}
  - {date: 2026-03-02, merged: {vixen: elk}, reason: never told apart}
  - {date: 2026-03-03, retired: [gnu], reason: too rare}
  - {date: 2026-03-04, split: {hen: [chick, rooster]}, reason: two teams}
"""


def test_labels_are_compared_across_the_history(bench: Bench):
    """The champion has eight labels; by the history two were merged, one retired, one split."""
    bench.crown("2")
    before = bench.decide("narrow")
    assert before["labels_removed"] == ["gnu", "hen"]
    Path("data").mkdir()
    Path("data/labels.yaml").write_text(HISTORY)
    # The labels of `narrow` still have fox, so it keeps its name.
    decision = bench.decide("narrow")
    assert decision["question"] != before["question"]
    assert (decision["labels_removed"], decision["labels_mapped"]) == ([], {})
    assert decision["labels_left_out"] == ["gnu", "hen"]
    [line] = [rule for rule in decision["rules"] if rule["rule"] == "labels"]
    assert line["challenger"] == 1.0
    text = Path("reports/decision.md").read_text()
    assert "Split or retired labels, not compared: gnu, hen." in text


def test_a_renamed_label_is_the_same_label_to_the_gate(bench: Bench):
    bench.crown("2")
    same = bench.decide("equal")
    bench.patch.setattr(contest.evidence, "test_scores", lambda: tuple(map(renamed, TEST_SCORES())))
    for name in ("frequencies/frequencies.json", "thresholds/thresholds.json"):
        path = Path("artifacts", name)
        path.write_text(path.read_text().replace('"fox"', '"vixen"'))
    Path("data").mkdir()
    Path("data/labels.yaml").write_text(
        "history: [{date: 2026-03-01, renamed: {fox: vixen}, reason: more precise}]"
    )
    decision = bench.decide("equal")
    assert decision["labels_mapped"] == {"vixen": ["fox"]}
    assert (decision["labels_added"], decision["labels_removed"]) == ([], [])
    assert decision["champion"]["metrics"] == same["champion"]["metrics"]
    assert "compared: vixen (the champion's fox)." in Path("reports/decision.md").read_text()


TEST_SCORES = evidence.test_scores


def renamed(scores: Scores) -> Scores:
    return replace(scores, labels=["vixen" if x == "fox" else x for x in scores.labels])


def test_too_few_shared_labels_need_a_rebase(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.crown("2")
    monkeypatch.setitem(PARAMS["promote"], "min_shared_labels", 0.9)
    assert ("labels", "all") in failed(bench.decide("narrow"))
    assert bench.decide("narrow", rebase=True)["verdict"] == "promoted"


def test_a_champion_that_does_not_load_is_a_refusal(bench: Bench):
    class Broken(InProcess):
        def __enter__(self):
            raise ServedError("models:/longtail/1 does not load")

    bench.crown("1")
    bench.patch.setattr(contest, "Served", Broken)
    decision = bench.decide("good")
    assert failed(decision) == [("champion", "all")]
    assert "does not load" in decision["summary"]


def test_a_failed_smoke_test_or_a_limit_blocks(bench: Bench):
    bench.patch.setattr(_decision, "smoke", lambda *_: Smoke(["scores differ."], {}))
    assert failed(bench.decide("middling")) == [("smoke", "all")]
    slow = MEASURED | {"seconds_per_doc": 5.1}
    bench.patch.setattr(_decision, "smoke", lambda *_: Smoke([], slow))
    decision = bench.decide("good")
    assert [r["metric"] for r in decision["rules"] if r["verdict"] == "failed"] == [
        "seconds_per_doc"
    ]


class Counting(InProcess):
    """Remembers what it was asked."""

    asked: ClassVar[list[str]] = []

    def ask(self, texts: list[str], **params: float) -> Answer:
        self.asked.extend(texts)
        return super().ask(texts, **params)


@pytest.mark.parametrize("champion", ["1", "5"])  # of 8 and of 6 labels
def test_the_champion_is_asked_once_per_text(bench: Bench, monkeypatch, champion: str):
    bench.patch.setattr(contest, "Served", Counting)
    bench.patch.setattr(Counting, "asked", [])
    bench.crown(champion)
    bench.decide("good")
    assert len(Counting.asked) == len(set(Counting.asked)) > 50
    texts = len(Counting.asked)
    known = bench.decide("poor")["champion"]["metrics"]
    assert len(Counting.asked) == texts + 1, "what it said is known"
    monkeypatch.setenv("LONGTAIL_CACHE", str(bench.home / "another"))
    assert bench.decide("equal")["champion"]["metrics"] == known
    assert len(Counting.asked) == 2 * texts + 1, "the same answers, asked anew"
    installed = [*distributions(), Mock(version="2")]
    monkeypatch.setattr(contest, "distributions", lambda: installed)
    bench.decide("leaking")
    assert len(Counting.asked) > 2 * texts + 2, "another environment may answer otherwise"


class Mute(InProcess):
    def ask(self, texts: list[str], **params: float) -> Answer:
        raise ServedError("it died")


def test_a_champion_that_no_longer_answers_is_a_refusal(bench: Bench):
    bench.crown("1")
    bench.decide("good")
    bench.patch.setattr(contest, "Served", Mute)
    assert failed(bench.decide("poor")) == [("champion", "all")], "although its answers are known"


@pytest.mark.parametrize("fault", ["no folder", "a file", "text", "no date"])
def test_kept_answers_that_cannot_be_used_cost_only_time(bench: Bench, capsys, fault: str):
    bench.crown("1")
    expected = bench.decide("good")["champion"]["metrics"]
    answers = bench.home / "cache" / "answers"
    if fault in ("text", "no date"):
        (path,) = answers.glob("*/answers.sqlite")
        value = {"text": "vector = CAST(x'ff00' AS TEXT)", "no date": "day = NULL"}[fault]
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(f"UPDATE vectors SET {value}")
    else:
        shutil.rmtree(answers)
        answers.write_text("") if fault == "a file" else answers.symlink_to("/proc/no/such/folder")
    assert bench.decide("equal")["champion"]["metrics"] == expected
    said = "cannot be used" in capsys.readouterr().out
    assert said == (fault in ("no folder", "a file"))


def test_a_package_without_metadata_does_not_stop_the_gate(tmp_path, monkeypatch):
    (tmp_path / "foo-1.0.dist-info").mkdir()
    before = contest._environment()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(contest._environment()) == len(before) + 1


def test_new_test_documents_are_all_that_the_champion_is_asked(bench: Bench):
    bench.patch.setattr(contest, "Served", Counting)
    version = registry.by_number(bench.client, "longtail", "2")
    bench.enter("good")
    texts = evidence.texts_of(ids_of_test())
    new = [" ".join(reversed(text.split())) for text in texts[:3]]
    expected = contest._predictions(version, texts)[0]
    bench.patch.setattr(Counting, "asked", [])
    found = contest._predictions(version, [*new, *texts[::-1], *texts[:2]])[0]
    assert sorted(Counting.asked) == sorted({new[0], *new} - (set(texts) - {new[0]}))
    again = np.vstack([expected.toarray()[::-1], expected.toarray()[:2]])
    assert (found[len(new) :].toarray() == again).all()
    assert contest._predictions(version, [])[0].shape == (0, expected.shape[1])


def test_an_int8_version_is_judged_as_it_is_served(bench: Bench):
    """Its predictions come from the served version, and what int8 costs has its own limit."""
    bench.client.set_model_version_tag("longtail", "1", registry.RUNTIME, "onnx_int8")
    decision = bench.decide("middling")
    assert decision["verdict"] == "promoted"
    lines = {r["metric"]: r for r in decision["rules"] if r["rule"] == "int8"}
    assert set(lines) == {"micro_f1", "macro_f1"}
    assert lines["micro_f1"]["difference"] == 0, "what is served is what was trained"

    class Coarse(InProcess):
        def ask(self, texts: list[str], **params: float) -> Answer:
            answer = super().ask(texts, **params)
            return replace(answer, labels=[row[:1] for row in answer.labels])

    bench.patch.setattr(contest, "Served", Coarse)
    bench.client.set_model_version_tag("longtail", "2", registry.RUNTIME, "onnx_int8")
    decision = bench.decide("good")
    assert ("int8", "all") in failed(decision)
    lines = {r["metric"]: r for r in decision["rules"] if r["rule"] == "int8"}
    assert decision["challenger"]["metrics"]["micro_f1"] == lines["micro_f1"]["challenger"]


def test_a_version_that_breaks_between_decide_and_apply_is_refused(bench: Bench):
    assert bench.decide("middling")["verdict"] == "promoted"
    bench.patch.setattr(_decision, "smoke", lambda *_: Smoke(["files changed."], {}))
    with pytest.raises(GateNotPassed, match="files changed"):
        bench.apply()
    assert bench.alias("champion") is None


def test_a_champion_that_changed_since_is_decided_on_again(bench: Bench):
    """Decided without a champion; then a better version became champion."""
    assert bench.decide("middling")["verdict"] == "promoted"
    bench.crown("2")
    with pytest.raises(GateNotPassed):
        bench.apply()
    assert bench.alias("champion") == "2"
    assert json.loads(Path("reports/decision.json").read_text())["champion"]["version"] == "2"
    assert bench.history() == [("found", None, "2")]


def test_an_alias_moved_by_another_client_at_the_same_moment_is_noticed(bench: Bench):
    def overtaken(name: str, alias: str, version: str) -> None:
        set_alias(name, alias, "4")

    set_alias = bench.client.set_registered_model_alias
    bench.patch.setattr(bench.client, "set_registered_model_alias", overtaken)
    with pytest.raises(TemporaryError, match="another client moved it"):
        registry.move_alias(bench.client, "longtail", "champion", "1")


def test_a_rollback_between_decide_and_apply_wins(bench: Bench):
    bench.promoted("middling")
    bench.decide("good")
    bench.client.set_model_version_tag("longtail", "2", registry.ROLLED_BACK, "broke the shop")
    with pytest.raises(GateNotPassed):
        bench.apply()
    assert bench.alias("champion") == "1"


def test_a_champion_deleted_by_hand_is_reported(bench: Bench):
    bench.promoted("good")
    bench.client.delete_model_version("longtail", "2")
    decision = bench.decide("middling")
    assert decision["verdict"] == "promoted"
    assert any("version 2 was the last champion" in rule["reason"] for rule in decision["rules"])
    bench.apply()
    assert bench.history() == [
        ("promote", None, "2"),
        ("found", None, None),
        ("promote", None, "1"),
    ]


def test_a_challenger_deleted_by_hand_is_named(bench: Bench):
    bench.client.delete_model_version("longtail", "1")
    with pytest.raises(DataError, match="gone from the registry"):
        bench.decide("middling")


@pytest.mark.parametrize("step", ["previous", "champion", "record"])
def test_a_kill_at_any_step_of_the_move_is_repaired_by_the_next_try(bench: Bench, step: str):
    class Killed(BaseException): ...

    def killed(*_: object, **__: object) -> None:
        raise Killed

    bench.promoted("middling")
    bench.decide("good")
    with pytest.MonkeyPatch.context() as patch:
        if step == "record":
            patch.setattr(_champion, "record", killed)
        else:
            real = registry.move_alias
            alias = {"previous": registry.PREVIOUS, "champion": registry.CHAMPION}[step]
            patch.setattr(
                _champion.registry,
                "move_alias",
                lambda c, n, a, v: killed() if a == alias else real(c, n, a, v),
            )
        with pytest.raises(Killed):
            bench.apply()
    bench.apply()
    assert (bench.alias("champion"), bench.alias("previous_champion")) == ("2", "1")
    assert [entry[1:] for entry in bench.history()] == [(None, "1"), ("1", "2")]


def test_errors_in_the_rules_are_reported_together(bench: Bench):
    bench.enter("middling")
    wrong = PARAMS["promote"] | {"error_budget": {"share": 2.0, "half_life": 0}, "gain": 1}
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"promote": wrong}))
    with pytest.raises(ParameterError) as caught:
        promote.run_decide()
    assert all(word in str(caught.value) for word in ("3 invalid", "share", "half_life", "gain"))


def test_the_history_is_numbered_and_never_rewritten(bench: Bench):
    for number in range(3):
        registry.append_history(bench.client, "longtail", {"n": number, "to": None})
    bench.client.delete_registered_model_tag("longtail", "history.000001")
    registry.append_history(bench.client, "longtail", {"n": 3, "to": None})
    assert [entry["n"] for entry in registry.history(bench.client, "longtail")] == [1, 2, 3]
    assert mlflow.get_tracking_uri() == f"sqlite:///{bench.home}/mlflow.db"


def test_the_page_follows_the_report_even_if_the_decision_is_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """The report can change (its own parameters) while model, data and rules do not."""
    page, details = Path("reports/decision.html"), Path("reports/report.json")

    def render(decision: dict) -> None:
        page.write_text(details.read_text())

    monkeypatch.setattr(decision_record, "_render", render)
    first = bench.decide("good")
    assert not page.exists()
    for second, text in ((1, "old"), (3, "new")):
        details.write_text(text)
        os.utime(details, (second, second))
        assert bench.decide("good") == first
        assert page.read_text() == text
        page.write_text("kept")
        os.utime(page, (second + 1, second + 1))
        bench.decide("good")
        assert page.read_text() == "kept"


def outcome() -> dict:
    return json.loads(promote.OUTCOME.read_text())


def test_the_outcome_is_written_and_gone_with_the_next_decision(bench: Bench):
    bench.promoted("middling")
    assert (outcome()["outcome"], outcome()["champion"]) == ("promoted", "1")
    promote.run_decide()
    assert not promote.OUTCOME.exists()
    bench.decide("good")
    bench.patch.setattr(_decision, "smoke", lambda *_: Smoke(["files changed."], {}))
    with pytest.raises(GateNotPassed):
        bench.apply()
    assert (outcome()["outcome"], outcome()["champion"]) == ("refused", "1")
    assert "files changed" in outcome()["why"]


def test_with_the_parameter_only_a_person_promotes(bench: Bench, monkeypatch, capsys):
    monkeypatch.setitem(PARAMS["promote"], "approval", True)
    bench.enter("middling")
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"train": {"wrong": 4}}))
    assert bench.decide("middling")["approval"] is True
    assert "It needs a person's approval." in Path("reports/decision.md").read_text()
    promote.run_apply()
    assert (bench.alias("champion"), outcome()["outcome"]) == (None, "waiting")
    assert "`longtail promote apply --approved-by NAME`" in capsys.readouterr().out
    promote.run_apply(approved_by="Ada")
    assert (bench.alias("champion"), outcome()["outcome"]) == ("1", "promoted")


def test_the_run_s_own_wish_overrides_the_parameter(bench: Bench, monkeypatch):
    monkeypatch.setenv("LONGTAIL_APPROVAL", "yes")
    first = bench.decide("middling")
    assert first["approval"] is True
    monkeypatch.setitem(PARAMS["promote"], "approval", True)
    assert bench.decide("middling")["decision_id"] == first["decision_id"], "the same question"
    monkeypatch.setenv("LONGTAIL_APPROVAL", "no")
    assert bench.decide("good")["approval"] is False
    monkeypatch.setenv("LONGTAIL_APPROVAL", "perhaps")
    with pytest.raises(ParameterError, match="'perhaps'; expected yes, no, or nothing"):
        bench.decide("good")


def test_a_version_that_waits_is_not_promoted_by_another_run(bench: Bench, monkeypatch):
    """Another night, which asks for no approval, finds it waiting (or refused, or unanswered)."""
    monkeypatch.setenv("LONGTAIL_APPROVAL", "yes")
    bench.decide("middling")
    shutil.copytree(".", bench.home / "waiting")
    for wish in ("no", ""):
        monkeypatch.setenv("LONGTAIL_APPROVAL", wish)
        decision_record.DECISION.unlink()
        assert bench.decide("middling")["approval"] is True
        promote.run_apply()
        assert (bench.alias("champion"), outcome()["outcome"]) == (None, "waiting")
    monkeypatch.chdir(bench.home / "waiting")
    promote.run_apply(approved_by="Ada")
    assert bench.alias("champion") == "1"


def test_an_approval_is_for_one_decision(bench: Bench, monkeypatch):
    """Approved without a champion, while another run made one."""
    monkeypatch.setenv("LONGTAIL_APPROVAL", "yes")
    bench.decide("good")
    bench.crown("1")
    promote.run_apply(approved_by="Ada")
    assert (bench.alias("champion"), outcome()["outcome"]) == ("1", "waiting")
    assert "the new decision needs approval" in outcome()["why"]
    promote.run_apply(approved_by="Ada")
    assert bench.alias("champion") == "2"


def test_a_long_decision_fits_the_strictest_store(bench: Bench):
    """PostgreSQL refuses what is longer than its column; the whole text is kept with the run."""
    bench.strict()
    real = _decision._facts
    long = gate.Line("champion", gate.REPORTED, "ü" * 6000)
    bench.patch.setattr(_decision, "_facts", lambda *sides: [*real(*sides), long])
    decision = bench.decide("middling")
    text = Path("reports/decision.md").read_text()
    version = bench.client.get_model_version("longtail", "1")
    assert len(text) > 6000 and len(version.description) <= 5000
    kept = bench.client.get_run(version.run_id).info.artifact_uri + "/decision.md"
    assert mlflow.artifacts.load_text(kept) == text
    Path("reports/decision.json").write_text(json.dumps(decision | {"summary": "ü" * 6000}))
    bench.apply()
    assert bench.history() == [("promote", None, "1")]
