"""The monitor on a real champion: drift, its honest score, and what an alarm offers or does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from components import drift, promote, register
from components._formats.corpus import read_corpus, write_corpus
from components._frame.exit_codes import GateNotPassed
from components._registry import arrivals, evidence, reference
from components._registry import client as registry
from components._registry import decision as decisions
from components._registry import watch as watching
from components._registry.decision_record import DRIFT
from components._registry.smoke import Smoke
from longtail.errors import DataError
from longtail.evaluation.metrics import compute
from longtail.label_matrix import encode
from tests.builders.registry_workspace import PARAMS, WORDS, InProcess, build, corpus

WATCH = {"max_loss": 0.02, "alpha": 0.05, "rollback": False}
LIMITS = {
    "min_psi": 0.2,
    "alpha": 0.05,
    "max_drifted_labels": 0.2,
    "max_unknown_tokens": 0.1,
    "min_docs": 50,
    "n_draws": 199,
    "seed": 0,
    "watch": WATCH,
}
MEASURED = {"size_mb": 1.0, "start_seconds": 1.0, "seconds_per_doc": 0.1, "memory_mb": 1.0}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two registered versions: 1, and 2 made from other documents."""
    home = tmp_path_factory.mktemp("drift")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        for name, options in (("first", {"wrong": 2}), ("second", {})):
            build(home / name, **options)
            patch.chdir(home / name)
            set_params()
            register.run()
    return home


@pytest.fixture
def home(versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The second version's workspace, in a registry of its own where it is the champion."""
    shutil.copyfile(versions / "mlflow.db", tmp_path / "mlflow.db")
    shutil.copytree(versions / "second", tmp_path / "second")
    monkeypatch.chdir(tmp_path / "second")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(drift, "Served", InProcess)
    client = registry.connect()
    client.set_registered_model_alias("longtail", "champion", "2")
    yield tmp_path


def set_params(**watch: object) -> None:
    params = PARAMS | {"drift": LIMITS | {"watch": WATCH | watch}}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def later(n_docs: int = 400, seed: int = 9) -> pd.DataFrame:
    """Documents of the same kind as the champion's, with ids of their own."""
    frame = corpus(n_docs, seed=seed)
    return frame.assign(id=[f"later{i}" for i in range(n_docs)])


def mislabeled(n_docs: int = 400) -> pd.DataFrame:
    """Later documents, half of them with the labels of another one."""
    frame = later(n_docs)
    labels = frame["labels"].tolist()
    half = n_docs // 2
    return frame.assign(labels=labels[:half] + labels[half:][::-1])


def watch(frame: pd.DataFrame) -> dict:
    """What `longtail drift new.parquet` writes."""
    write_corpus(frame, Path("new.parquet"))
    drift.command.main(["new.parquet"], standalone_mode=False)
    return json.loads(DRIFT.read_text())


def tonight(frame: pd.DataFrame) -> dict:
    """What `longtail drift` writes after the documents have joined the corpus."""
    own = pd.read_parquet(evidence.CORPUS)
    own["labels"] = [list(labels) for labels in own["labels"]]
    write_corpus(pd.concat([own, frame], ignore_index=True), evidence.CORPUS)
    drift.command.main([], standalone_mode=False)
    return json.loads(DRIFT.read_text())


def predicted(texts: list[str]):
    with InProcess("models:/longtail/2") as model:
        return encode(model.ask(texts).labels, WORDS)


def test_documents_of_the_same_kind_exceed_no_limit(home: Path, capsys):
    found = watch(later())
    assert (found["alarms"], found["judged"], found["champion"]) == ([], True, "2")
    assert found["documents"] == {"reference": 400, "new": 400}
    assert found["scored_documents"] == 140  # all test documents, not a sample of them
    assert found["unknown_words"]["share"] == 0.0
    assert "400 new documents: no limit was exceeded." in capsys.readouterr().out


def test_other_documents_raise_an_alarm_with_exit_code_4(home: Path):
    frame = later()
    frame["text"] = [f"quite other words {text}" for text in frame["text"]]
    with pytest.raises(GateNotPassed, match="words are new"):
        watch(frame)
    assert json.loads(DRIFT.read_text())["unknown_words"]["share"] > 0.2


def test_too_few_documents_of_a_file_are_measured_but_not_judged(home: Path):
    frame = later(49)
    frame["text"] = "quite other words"
    found = watch(frame)
    assert (found["alarms"], found["judged"]) == ([], False)


def test_a_file_without_a_document_is_an_error(home: Path):
    with pytest.raises(DataError, match="has no document"):
        watch(later().iloc[:0])


def test_without_a_champion_a_night_says_so_and_a_file_is_an_error(home: Path, capsys):
    registry.connect().delete_registered_model_alias("longtail", "champion")
    found = tonight(later())
    assert found == {
        "alarms": [],
        "judged": False,
        "champion": None,
        "reason": "longtail has no champion yet.",
    }
    assert "Not measured: longtail has no champion yet." in capsys.readouterr().out
    with pytest.raises(DataError, match="no champion; promote a version first"):
        watch(later())


def test_tonights_new_documents_are_those_that_the_champion_does_not_know(home: Path):
    """Test documents of the champion's corpus are none of them, though it has not seen them."""
    found = tonight(later(120))
    assert found["documents"] == {"reference": 400, "new": 120}
    assert found["watch"]["measured"]["n_docs"] == 120


def test_few_new_documents_are_not_measured(home: Path, monkeypatch, capsys):
    monkeypatch.setattr(drift, "Served", None)  # no process is started for them
    found = tonight(later(49))
    assert found["reason"] == (
        "49 documents arrived after version 2 was registered; 50 are needed."
    )
    assert (found["alarms"], found["judged"], found["champion"]) == ([], False, "2")
    assert "Not measured: 49 documents" in capsys.readouterr().out


def test_a_corpus_without_the_champions_documents_is_no_error(home: Path):
    write_corpus(later(), evidence.CORPUS)
    drift.command.main([], standalone_mode=False)
    assert "no document that version 2 was made from" in json.loads(DRIFT.read_text())["reason"]


def test_the_honest_score_is_the_one_of_all_new_documents(home: Path):
    frame = mislabeled()
    with pytest.raises(GateNotPassed, match="micro-F1 on 4.. documents|micro-F1 on 3.. documents"):
        tonight(frame)
    found = json.loads(DRIFT.read_text())["watch"]
    targets = encode(frame["labels"].tolist(), WORDS)
    expected = compute("micro_f1", predicted(frame["text"].tolist()), targets)
    assert found["measured"]["micro_f1"] == pytest.approx(expected)
    assert found["measured"]["low"] < expected < found["measured"]["high"] < found["limit"]
    kept = reference.read(str(registry.by_number(registry.connect(), "longtail", "2").run_id))
    scores, _ = evidence.test_scores()
    thresholds = json.loads(evidence.THRESHOLDS.read_text())["models"]["model"]["thresholds"]
    at_promotion = compute("micro_f1", scores.scores >= np.array(thresholds), scores.targets)
    assert found["promoted"] == kept.micro_f1 == pytest.approx(at_promotion)
    assert found["limit"] == pytest.approx(at_promotion - 0.02)


def register_night(ids: list[str]) -> str:
    """A later version whose corpus had also these documents; only its evidence matters."""
    client = registry.connect()
    own = pd.read_parquet(evidence.ASSIGNMENT)["id"]
    mlflow.set_experiment("longtail")
    with mlflow.start_run() as run:
        mlflow.log_text(evidence.hashed_lines([*own, *ids]), evidence.KNOWN_FILE)
    source = registry.by_number(client, "longtail", "2").source
    return str(client.create_model_version("longtail", source, run.info.run_id).version)


def test_documents_are_watched_in_the_order_of_their_nights(home: Path):
    """The corpus is sorted by id; the nights say which documents fell off last."""
    frame = mislabeled()  # the second half
    order = np.random.default_rng(0).permutation(400)
    frame["id"] = [f"x{i:03}" for i in order]  # nothing in the ids tells the halves apart
    ids = frame["id"].tolist()
    with pytest.raises(GateNotPassed):
        tonight(frame.sort_values("id"))
    mixed = json.loads(DRIFT.read_text())["watch"]["measured"]["fall"]
    assert register_night(ids[:100]) == "3"
    client = registry.connect()
    client.delete_run(registry.by_number(client, "longtail", "1").run_id)
    assert register_night(ids[:200]) == "4"
    found = arrivals.find(
        client, registry.by_number(client, "longtail", "2"), read_corpus(evidence.CORPUS), None
    )
    assert set(found.new["id"][:100]) == set(ids[:100])
    assert set(found.new["id"][100:200]) == set(ids[100:200])
    assert found.new["id"][:100].tolist() != sorted(ids[:100])  # not by id within a night
    with pytest.raises(GateNotPassed):
        drift.command.main([], standalone_mode=False)
    fall = json.loads(DRIFT.read_text())["watch"]["measured"]["fall"]
    assert 195 <= fall["n_docs"] <= 200 < mixed["n_docs"]  # but for copies
    assert fall["micro_f1"] < mixed["micro_f1"] - 0.1


def test_copies_and_groups_of_documents_that_it_was_trained_on_are_left_out(home: Path):
    own = pd.read_parquet(evidence.CORPUS)
    parts = pd.read_parquet(evidence.ASSIGNMENT).set_index("id")["split"]
    train, test = (own[own["id"].map(parts) == part] for part in ("train", "test"))
    frame = later(200)
    copies = train.iloc[:30].assign(id=[f"copy{i}" for i in range(30)])
    copies["text"] = copies["text"].str.upper() + "!"
    others = test.iloc[:10].assign(id=[f"test{i}" for i in range(10)])
    arrived = pd.concat([frame, copies, others], ignore_index=True)
    arrived["labels"] = [list(labels) for labels in arrived["labels"]]
    train_texts = set(train["text"])
    unseen = [t for t in arrived["text"] if t not in train_texts and not t.endswith("!")]
    val_texts = set(own[own["id"].map(parts) == "val"]["text"])
    found = tonight(arrived)["watch"]["measured"]
    assert found["n_docs"] == sum(text not in val_texts for text in unseen)
    assert found["n_docs"] > 150


def test_documents_of_a_known_group_are_left_out_and_a_new_group_is_one_unit(home: Path):
    own = pd.read_parquet(evidence.CORPUS).assign(group=None)
    own["labels"] = [list(labels) for labels in own["labels"]]
    seen = pd.read_parquet(evidence.ASSIGNMENT)
    first = own.index[own["id"].isin(seen.loc[seen["split"] == "train", "id"])][0]
    own.loc[first, "group"] = "old"
    write_corpus(own, evidence.CORPUS)
    frame = later(300)
    # Texts that occur once: no copy links them.
    frame["text"] = [f"{text} {i}" for i, text in enumerate(frame["text"])]
    frame["group"] = ["old"] * 20 + ["new"] * 30 + [None] * 250
    with pytest.raises(GateNotPassed, match="words_per_document has moved"):
        tonight(frame)
    found = json.loads(DRIFT.read_text())["watch"]["measured"]
    assert (found["n_docs"], found["n_units"]) == (280, 251)


def test_labels_that_the_champion_does_not_know_are_not_held_against_it(home: Path):
    frame = later(200)
    plain = tonight(frame)["watch"]["measured"]
    assert plain["new_label_share"] == 0.0
    assert plain["micro_f1_with_new_labels"] == pytest.approx(plain["micro_f1"])
    changed = frame.assign(id=[f"x{i}" for i in range(200)], text=frame["text"] + " indeed")
    changed["labels"] = [[*labels, "yak"] for labels in changed["labels"]]
    texts = [*frame["text"], *changed["text"]]
    with pytest.raises(GateNotPassed, match="label_prevalence has moved"):
        tonight(changed)
    found = json.loads(DRIFT.read_text())["watch"]["measured"]
    targets = encode([*frame["labels"], *frame["labels"]], WORDS)
    own = predicted(texts)
    assert found["micro_f1"] == pytest.approx(compute("micro_f1", own, targets))
    tp, n_pos = own.multiply(targets).sum(), targets.sum()
    missed = 2 * tp / (own.sum() + n_pos + 200)
    assert found["micro_f1_with_new_labels"] == pytest.approx(missed)
    assert found["new_label_share"] == pytest.approx(200 / (n_pos + 200))


def test_a_rename_does_not_lower_the_honest_score(home: Path):
    """Documents come with the new words, which the champion, trained before, does not know."""
    plain = tonight(later(200))["watch"]["measured"]
    own = pd.read_parquet(evidence.CORPUS)
    own["labels"] = [["vixen" if x == "fox" else x for x in labels] for labels in own["labels"]]
    write_corpus(own, evidence.CORPUS)
    drift.command.main([], standalone_mode=False)
    lost = json.loads(DRIFT.read_text())["watch"]["measured"]
    assert lost["new_label_share"] > 0.05 and lost["micro_f1"] < plain["micro_f1"]
    Path("data").mkdir()
    Path("data/labels.yaml").write_text(
        "history: [{date: 2026-03-01, renamed: {fox: vixen}, reason: more precise}]"
    )
    drift.command.main([], standalone_mode=False)
    assert json.loads(DRIFT.read_text())["watch"]["measured"] == plain


def test_documents_without_labels_get_an_estimate(home: Path):
    frame = later()
    truth = compute(
        "micro_f1", predicted(frame["text"].tolist()), encode(frame["labels"].tolist(), WORDS)
    )
    labeled = watch(frame)["watch"]
    assert labeled["unlabeled"] is None
    assert labeled["estimated"]["n_docs"] == labeled["measured"]["n_docs"]
    frame["labels"] = [[] for _ in range(len(frame))]
    found = watch(frame)
    assert found["watch"]["measured"] is None
    assert found["labels"] is None and "label_prevalence" not in found["psi"]
    assert found["watch"]["unlabeled"] == labeled["estimated"]
    assert found["watch"]["unlabeled"]["micro_f1"] == pytest.approx(truth, abs=0.05)
    assert not found["watch"]["below"]


def test_an_alarm_offers_the_command_that_restores_the_previous_champion(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    client = registry.connect()
    client.set_registered_model_alias("longtail", "previous_champion", "1")
    with pytest.raises(GateNotPassed) as refused:
        tonight(mislabeled())
    found = json.loads(DRIFT.read_text())
    offered = found["watch"]["rollback"]
    assert f"To restore it: `{offered}`." in str(refused.value)
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "2"
    program, action, *argv = shlex.split(offered)
    assert (program, action) == ("longtail", "rollback")
    monkeypatch.setattr(decisions, "smoke", lambda *_: Smoke([], MEASURED))
    promote.command.main(["rollback", *argv], standalone_mode=False)
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "1"
    why = registry.history(client, "longtail")[-1]["why"]
    assert re.fullmatch(r"micro-F1 \d\d.\d on \d+ later documents, 80.9 at promotion", why)


def test_with_the_setting_the_previous_champion_is_restored(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    set_params(rollback=True)
    client = registry.connect()
    client.set_registered_model_alias("longtail", "previous_champion", "1")
    monkeypatch.setattr(decisions, "smoke", lambda *_: Smoke([], MEASURED))
    with pytest.raises(GateNotPassed, match="Version 1 is the champion again"):
        tonight(mislabeled())
    assert json.loads(DRIFT.read_text())["watch"]["restored"] == "1"
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "1"
    left = registry.by_number(client, "longtail", "2")
    assert "80.9 at promotion" in left.tags[registry.ROLLED_BACK]
    last = registry.history(client, "longtail")[-1]
    assert (last["action"], last["from"], last["to"]) == ("rollback", "2", "1")


def test_a_file_never_moves_the_champion(home: Path, monkeypatch: pytest.MonkeyPatch):
    set_params(rollback=True)
    client = registry.connect()
    client.set_registered_model_alias("longtail", "previous_champion", "1")
    with pytest.raises(GateNotPassed, match="To restore it"):
        watch(mislabeled())
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "2"


def test_a_version_that_fails_the_smoke_test_is_not_restored(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    set_params(rollback=True)
    client = registry.connect()
    client.set_registered_model_alias("longtail", "previous_champion", "1")
    monkeypatch.setattr(decisions, "smoke", lambda *_: Smoke(["it does not load."], {}))
    with pytest.raises(
        GateNotPassed, match="Version 1 was not restored: Version 1 does not answer"
    ):
        tonight(mislabeled())
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "2"
    assert registry.ROLLED_BACK not in registry.by_number(client, "longtail", "2").tags


def test_a_champion_that_was_replaced_meanwhile_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another run promotes version 1 while the monitor is scoring version 2."""
    set_params(rollback=True)
    client = registry.connect()
    client.set_registered_model_alias("longtail", "previous_champion", "1")
    measure = drift._measure

    def and_promoted(*arguments):
        client.set_registered_model_alias("longtail", "champion", "1")
        return measure(*arguments)

    monkeypatch.setattr(drift, "_measure", and_promoted)
    with pytest.raises(GateNotPassed, match="another version is the champion by now"):
        tonight(mislabeled())
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "1"
    assert registry.ROLLED_BACK not in registry.by_number(client, "longtail", "2").tags


def test_a_champion_that_is_replaced_just_before_the_lock_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    set_params(rollback=True)
    client = registry.connect()
    client.set_registered_model_alias("longtail", "previous_champion", "1")
    restorable = watching.restorable

    def and_promoted(*arguments):
        found = restorable(*arguments)
        client.set_registered_model_alias("longtail", "champion", "1")
        return found

    monkeypatch.setattr(watching, "restorable", and_promoted)
    with pytest.raises(GateNotPassed, match="Version 2 is not the champion any more"):
        tonight(mislabeled())
    assert registry.ROLLED_BACK not in registry.by_number(client, "longtail", "2").tags


@pytest.mark.parametrize("rolled_back", [True, False])
def test_a_version_that_was_rolled_back_is_never_offered(home: Path, rolled_back: bool):
    client = registry.connect()
    if rolled_back:
        client.set_registered_model_alias("longtail", "previous_champion", "1")
        client.set_model_version_tag("longtail", "1", registry.ROLLED_BACK, "a reason")
    set_params(rollback=True)
    with pytest.raises(GateNotPassed, match="no previous champion to restore"):
        tonight(mislabeled())
    assert registry.number(registry.by_alias(client, "longtail", "champion")) == "2"


def test_a_champion_that_does_not_load_is_named(home: Path, monkeypatch: pytest.MonkeyPatch):
    client = registry.connect()
    run_id = registry.by_number(client, "longtail", "1").run_id
    client.create_model_version("longtail", "file:///nowhere", run_id)
    found = registry.by_number(client, "longtail", "2").tags
    for name, value in found.items():
        client.set_model_version_tag("longtail", "3", name, value)
    client.set_registered_model_alias("longtail", "champion", "3")
    with pytest.raises(DataError, match="list|does not answer"):
        watch(later())


def test_a_changed_list_of_seen_documents_is_an_error(home: Path):
    registry.connect().set_model_version_tag("longtail", "2", "train_ids_digest", "other")
    with pytest.raises(DataError, match="does not match the version's tag train_ids_digest"):
        watch(later())
