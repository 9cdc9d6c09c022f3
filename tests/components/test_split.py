"""The stage: frozen rows stay, groups stay together, the row order does not matter."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from components import ingest, validate
from components._formats.assignment import read_folds, read_groups
from components._formats.corpus import FOLD, write_corpus
from components._frame.component import stage_command
from components._frame.pipeline import load_stages
from components.split import Params, run
from longtail.errors import DataError
from longtail.splitting.atoms import Copies
from longtail.splitting.iterative import SPLITS, scikit_multilearn_split
from longtail.splitting.quality import quality
from tests.builders.params import stage_params
from tests.builders.paths import ROOT

N_DOCS = 100


def corpus(**columns: Any) -> pd.DataFrame:
    """100 documents: `common` in all, `half` in every second one, `rare` in the first three."""
    rows = [
        {
            "id": f"d{i:03}",
            "text": f"text {i}",
            "labels": ["common"] + ["half"] * (i % 2) + ["rare"] * (i < 3),
        }
        for i in range(N_DOCS)
    ]
    return pd.DataFrame(rows).assign(**columns)


def split(folder: Path, frame: pd.DataFrame, **params: Any) -> tuple[pd.Series, dict[str, Any]]:
    """The assignment by id and the report."""
    write_corpus(frame, folder / "corpus.parquet")
    run(
        corpus=folder / "corpus.parquet",
        assignment=folder / "out" / "assignment.parquet",
        split_report=folder / "out" / "split.json",
        params=stage_params(Params, "split", params),
    )
    table = pq.read_table(folder / "out" / "assignment.parquet")
    assert table.column_names == ["id", "split", "group", "retired", "crossfit_fold"]
    report = json.loads((folder / "out" / "split.json").read_text(encoding="utf-8"))
    return table.to_pandas().set_index("id")["split"], report


def test_sizes_shares_and_order_of_ids(tmp_path: Path) -> None:
    parts, _ = split(tmp_path, corpus().sample(frac=1, random_state=1))
    assert Counter(parts) == {"train": 60, "val": 20, "test": 20}
    assert parts.index.tolist() == [f"d{i:03}" for i in range(N_DOCS)]
    half = Counter(parts[1::2])
    assert half == {"train": 30, "val": 10, "test": 10}
    assert set(parts[:3]) == {"train", "val", "test"}  # a label of three documents is in every part


def test_other_fractions_reach_their_own_parts(tmp_path: Path) -> None:
    parts, report = split(tmp_path, corpus(), fractions={"train": 0.5, "val": 0.1, "test": 0.4})
    assert Counter(parts) == {"train": 50, "val": 10, "test": 40}
    sizes = report["quality"]["sizes"]
    assert {name: row["docs"] for name, row in sizes.items()} == Counter(parts)


def test_frozen_rows_stay_and_count(tmp_path: Path) -> None:
    frozen = [None] * 20 + ["test"] * 20 + ["train"] * 10 + [None] * 50
    parts, report = split(tmp_path, corpus(split=frozen))
    assert set(parts[20:40]) == {"test"} and set(parts[40:50]) == {"train"}
    assert report["frozen"] == 30
    # Test is already full, so that only the one document that brings it `rare` joins it.
    assert "test" in set(parts[:3])
    assert Counter(parts) == {"train": 59, "val": 20, "test": 21}


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_all_rows_frozen_change_nothing(tmp_path: Path, method: str) -> None:
    frozen = [SPLITS[i % 3] for i in range(N_DOCS)]
    parts, report = split(tmp_path, corpus(split=frozen), method=method)
    assert parts.tolist() == frozen and report["frozen"] == N_DOCS


EMPTY = {
    "few": ({}, 2, "val and test|val|test", "there are too few of them (2)"),
    "one group": ({"group": "g"}, 100, "val and test", "form only 1 group, since"),
    "copies": ({"text": "one text"}, 100, "val and test", "the 100 documents form only 1 group"),
    "train": ({"split": "train"}, 100, "test", "freezes all 100 documents, and none of them as"),
    "test": ({"split": "test"}, 100, "train and val", "freezes all 100 documents"),
    "one is free": ({"split": ["train"] * 99 + [None]}, 100, "val|val and test",
                    "99 of 100 documents are frozen, and the others form only 1 group"),
}  # fmt: skip


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
@pytest.mark.parametrize("case", EMPTY)
def test_an_empty_part_is_said_with_its_cause(tmp_path: Path, case: str, method: str) -> None:
    columns, n_docs, part, cause = EMPTY[case]
    if method == "scikit_multilearn" and case in ("one group", "copies"):
        return  # it knows no groups
    with pytest.raises(DataError, match=f"^({part}) would have no documents: ") as caught:
        split(tmp_path, corpus(**columns)[:n_docs], method=method)
    assert cause in str(caught.value) and "Add documents" in str(caught.value).replace("add", "Add")


def test_an_empty_split_column_counts_as_none(tmp_path: Path) -> None:
    without, _ = split(tmp_path, corpus())
    parts, report = split(tmp_path, corpus(split=[None] * N_DOCS))
    assert report["frozen"] == 0 and parts.equals(without)


def test_an_unknown_split_names_the_document(tmp_path: Path) -> None:
    names = [None] * N_DOCS
    names[7] = "Train"
    with pytest.raises(DataError) as caught:
        split(tmp_path, corpus(split=names))
    assert str(caught.value) == (
        "Document 'd007': split is 'Train', expected train, val, test or nothing; "
        "fix the source and ingest it again."
    )
    assert not (tmp_path / "out").exists()


def test_groups_stay_together_and_rows_without_one_are_free(tmp_path: Path) -> None:
    groups = [f"g{i // 4}" for i in range(80)] + [None] * 20
    parts, report = split(tmp_path, corpus(group=groups))
    frame = pd.DataFrame({"group": groups[:80], "part": parts[:80].tolist()})
    assert (frame.groupby("group")["part"].nunique() == 1).all()
    assert parts[80:].nunique() > 1
    assert report["quality"]["groups_apart"] == 0
    assert report["reference"]["groups_apart"] > 0  # the library does not know groups
    for part, share in zip(SPLITS, (60, 20, 20), strict=True):
        assert abs((parts == part).sum() - share) <= 4


def test_a_split_that_is_partly_frozen_is_compared_with_no_free_one(tmp_path: Path) -> None:
    _, report = split(tmp_path, corpus(split=["test"] * 5 + [None] * (N_DOCS - 5)))
    assert report["reference"] == {
        "method": "scikit_multilearn",
        "skipped": "5 of 100 documents keep their part, and it would split all anew",
    }


def test_free_rows_join_the_frozen_rows_of_their_group(tmp_path: Path) -> None:
    groups = [f"g{i // 2}" for i in range(N_DOCS)]
    frozen = ["val" if i in (0, 20, 40) else None for i in range(N_DOCS)]
    parts, _ = split(tmp_path, corpus(group=groups, split=frozen))
    assert [parts[f"d{i:03}"] for i in (1, 21, 41)] == ["val"] * 3


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_the_row_order_does_not_matter_but_the_seed_does(tmp_path: Path, method: str) -> None:
    frame = corpus()
    first, report = split(tmp_path, frame, method=method)
    content = (tmp_path / "out" / "assignment.parquet").read_bytes()
    again, shuffled = split(tmp_path, frame.sample(frac=1, random_state=3), method=method)
    assert again.equals(first) and shuffled == report
    assert (tmp_path / "out" / "assignment.parquet").read_bytes() == content
    other, _ = split(tmp_path, frame, method=method, seed=1)
    assert not other.equals(first)


def test_the_library_method_leaves_frozen_rows_and_splits_the_rest(tmp_path: Path) -> None:
    frozen = ["train"] * 15 + ["test"] * 5 + [None] * 80
    frame = corpus(split=frozen)
    parts, report = split(tmp_path, frame, method="scikit_multilearn")
    assert parts[:20].tolist() == frozen[:20]
    assert report["method"] == "scikit_multilearn"
    labels = report["labels"]
    free = np.array([[name in doc for name in labels] for doc in frame["labels"][20:]], dtype=int)
    from scipy.sparse import csr_matrix

    # 60, 20 and 20 documents are wanted; 15, 0 and 5 are frozen.
    wanted = [45 / 80, 20 / 80, 15 / 80]
    expected = scikit_multilearn_split(
        csr_matrix(free), wanted, ids=frame["id"][20:].tolist(), seed=0
    )
    assert parts[20:].tolist() == [SPLITS[code] for code in expected]


def test_the_report_compares_our_split_with_the_librarys(tmp_path: Path) -> None:
    frame = corpus()
    parts, report = split(tmp_path, frame)
    facts = {"method", "frozen", "retired", "drawn", "folds", "labels", "quality", "reference"}
    assert set(report) == facts
    assert report["labels"] == ["common", "half", "rare"]
    assert report["method"] == "iterative" and report["frozen"] == 0
    figures = {
        "sizes", "label_share_deviation", "ld", "rld", "dcp", "pairs", "missing", "groups_apart",
        "largest_group", "copies_across",
    }  # fmt: skip
    assert set(report["quality"]) == figures
    assert set(report["reference"]) == figures | {"method"}
    from scipy.sparse import csr_matrix

    wanted = csr_matrix([[name in doc for name in report["labels"]] for doc in frame["labels"]])
    codes = np.array([SPLITS.index(part) for part in parts[frame["id"]]])
    copies = Copies(np.full(N_DOCS, -1), np.zeros((0, 2), dtype=int))
    assert report["quality"] == quality(wanted.astype(int), codes, [0.6, 0.2, 0.2], copies=copies)
    # By hand: common and half are exact; rare has 1/3 in each part instead of .6, .2, .2.
    deviation = (4 / 15 + 2 / 15 + 2 / 15) / 9
    assert report["quality"]["label_share_deviation"] == pytest.approx(deviation, abs=1e-9)


def test_the_second_order_looks_at_label_pairs(tmp_path: Path) -> None:
    frame = corpus()
    frame["labels"] = [
        [f"a{i % 4}", f"b{i % 3}"] + (["c"] if i % 5 == 0 else []) for i in range(N_DOCS)
    ]
    deviation = {}
    for order in (1, 2):
        _, report = split(tmp_path, frame, order=order)
        deviation[order] = report["quality"]["pairs"]["share_deviation"]
        assert report["quality"]["pairs"]["count"] == 12 + 4 + 3
    assert deviation[2] < deviation[1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fractions": {"train": 0.7}}, "train [+] val [+] test must be 1, got 1.1"),
        ({"fractions": {"train": 1.0, "val": 0.0, "test": 0.0}}, "less than 1"),
        ({"fractions": {"train": float("nan")}}, "fractions.train"),
        ({"order": 3}, "less than or equal to 2"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"method": "random"}, "'iterative' or 'scikit_multilearn'"),
        ({"near_similarity": 0.4}, "greater than or equal to 0.5"),
        ({"refresh": 1.1}, "less than or equal to 1"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage_params(Params, "split", params)


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_val_comes_from_train_if_a_corpus_was_published_in_two_parts(
    tmp_path: Path, method: str
) -> None:
    published = ["test" if i % 10 < 3 else "train" for i in range(N_DOCS)]
    parts, report = split(tmp_path, corpus(split=published), method=method)
    # Test keeps its 30; train and val share the other 70 as 60 : 20.
    assert parts[np.array(published) == "test"].eq("test").all()
    assert Counter(parts)["test"] == report["frozen"] == 30
    assert Counter(parts)["train"] == pytest.approx(52.5, abs=2)


def test_val_is_left_alone_if_a_row_is_free_or_frozen_in_val(tmp_path: Path) -> None:
    published: list[str | None] = ["test" if i % 10 < 3 else "train" for i in range(N_DOCS)]
    for last in (None, "val"):
        parts, report = split(tmp_path, corpus(split=[*published[:-1], last]))
        frozen = np.array(published[:-1])
        assert (parts.to_numpy()[:-1] == frozen).all()
        assert parts.iloc[-1] == "val" and report["frozen"] == 99 + (last is not None)


def copied(n_texts: int = 50, n_words: int = 30) -> pd.DataFrame:
    """Each text three times: as it is, in other letters and punctuation, and with a word more."""
    rows = []
    for i in range(n_texts):
        text = " ".join(f"w{i}x{word}" for word in range(n_words))
        for kind, version in (("a", text), ("b", f"{text.upper()}!"), ("c", f"{text} more")):
            rows.append({"id": f"{i:02}{kind}", "text": version, "labels": [f"l{i % 5}"]})
    return pd.DataFrame(rows)


def crossing(frame: pd.DataFrame, parts: pd.Series, kinds: str) -> int:
    """Texts whose versions of these kinds are in several parts."""
    part = frame[frame["id"].str[2].isin(list(kinds))].assign(part=lambda f: f["id"].map(parts))
    return int((part.groupby(part["id"].str[:2])["part"].nunique() > 1).sum())


def test_copies_stay_together_and_near_copies_by_a_setting(tmp_path: Path) -> None:
    frame = copied()
    parts, report = split(tmp_path, frame)
    assert crossing(frame, parts, "abc") == 0
    assert not any(n for kind in report["quality"]["copies_across"].values() for n in kind.values())
    assert Counter(parts) == {"train": 90, "val": 30, "test": 30}
    table = read_groups(tmp_path / "out" / "assignment.parquet")
    assert table.to_dict() == {identity: f"{identity[:2]}a" for identity in frame["id"]}
    parts, report = split(tmp_path, frame, near_copies=False)
    assert crossing(frame, parts, "ab") == 0 < crossing(frame, parts, "bc")
    table = read_groups(tmp_path / "out" / "assignment.parquet")
    assert table.to_dict() == {i: i if i[2] == "c" else f"{i[:2]}a" for i in frame["id"]}
    across = report["quality"]["copies_across"]
    assert not any(across["exact"].values()) and "near" not in across
    # From 1.0 on nothing but an exact copy of the word triples is a near-copy.
    parts, report = split(tmp_path, frame, near_similarity=1.0)
    assert not any(report["quality"]["copies_across"]["near"].values())
    assert crossing(frame, parts, "bc") > 0


def test_the_row_order_does_not_matter_to_near_copies(tmp_path: Path) -> None:
    """The search compares each text of a bucket with two others, which depend on the order."""
    rng = np.random.default_rng(0)
    letter = [f"w{i}" for i in range(40)]
    texts = []
    for _ in range(80):
        text = letter.copy()
        for at in rng.choice(40, 2, replace=False):
            text[at] = f"x{rng.integers(5)}"
        texts.append(" ".join(text))
    frame = pd.DataFrame({"text": texts, "labels": [["a"]] * 80})
    frame.insert(0, "id", [f"d{i:02}" for i in range(80)])
    first, report = split(tmp_path, frame)
    groups = read_groups(tmp_path / "out" / "assignment.parquet")
    assert groups.nunique() > 1 and groups.value_counts().iloc[0] > 2
    for seed in range(5):
        again, shuffled = split(tmp_path, frame.sample(frac=1, random_state=seed))
        assert again.equals(first) and shuffled == report
        assert read_groups(tmp_path / "out" / "assignment.parquet").equals(groups)


def test_copies_that_cross_parts_are_counted_frozen_ones_too(tmp_path: Path) -> None:
    frame = copied().assign(split="train")
    frame.loc[frame["id"].isin(["00b", "01c"]), "split"] = "test"
    frame.loc[frame["id"].str.startswith("4"), "split"] = None
    parts, report = split(tmp_path, frame)
    assert parts["00b"] == parts["01c"] == "test"
    # 00a is an exact copy of 00b; 00c a near one of it; 01a and 01b are near ones of 01c.
    assert report["quality"]["copies_across"] == {
        "exact": {"train": 1, "val": 0, "test": 1},
        "near": {"train": 3, "val": 0, "test": 2},
    }
    write_corpus(frame, tmp_path / "corpus.parquet")
    line = run(
        corpus=tmp_path / "corpus.parquet",
        assignment=tmp_path / "a",
        split_report=tmp_path / "b",
        params=stage_params(Params, "split"),
    )
    assert line.endswith(
        "; exact copies in another part: 1 of train, 1 of test"
        "; near copies in another part: 3 of train, 2 of test"
    )


@pytest.mark.parametrize("method", ["iterative", "scikit_multilearn"])
def test_val_from_train_leaves_copies_of_test_documents_in_train(
    tmp_path: Path, method: str
) -> None:
    frame = copied().assign(split="train")
    frame.loc[frame["id"].str.endswith("b") & (frame["id"] < "30"), "split"] = "test"
    parts, report = split(tmp_path, frame, method=method)
    assert (parts == "test").sum() == 30  # no document of train has joined its copy
    assert (parts[parts.index < "30"] != "val").all() and (parts == "val").sum() > 10
    assert report["quality"]["copies_across"]["exact"]["test"] == 30


def test_the_atoms_are_written_with_the_library_method_too(tmp_path: Path) -> None:
    frame = copied()
    split(tmp_path, frame, method="scikit_multilearn")
    table = read_groups(tmp_path / "out" / "assignment.parquet")
    assert table.to_dict() == {identity: f"{identity[:2]}a" for identity in frame["id"]}


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **params: Any) -> Callable[..., Any]:
    """`ingest` and `validate` and `split` as a user runs them, in `folder`."""
    monkeypatch.chdir(folder)
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["split"] |= params
    (folder / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    shutil.copy(ROOT / "dvc.yaml", folder)
    argv = {stage.name: stage.argv for stage in load_stages(ROOT / "dvc.yaml")}

    def night(frame: pd.DataFrame) -> pd.DataFrame:
        frame.to_csv("new.csv", index=False)
        ingest.command.main(["csv", "new.csv"], standalone_mode=False)
        for name, stage in (("validate", validate.run), ("split", run)):
            stage_command(stage).main(argv[name][3:], standalone_mode=False)
        return pd.read_parquet("artifacts/split/assignment.parquet").set_index("id")

    return night


def test_300_texts_in_two_copies_through_the_real_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without atoms, 96 of 120 test documents had their copy in train or val."""
    rows = [
        {"id": f"{i}{copy}", "text": f"A text, number {i}{end}", "labels": f"l{i % 7},m{i % 3}"}
        for i in range(300)
        for copy, end in (("a", ""), ("b", "!"))
    ]
    parts = commands(tmp_path, monkeypatch)(pd.DataFrame(rows))["split"]
    assert Counter(parts) == {"train": 360, "val": 120, "test": 120}
    assert sum(parts[f"{i}a"] != parts[f"{i}b"] for i in range(300)) == 0
    assert "in another part" not in capsys.readouterr().out


def test_nights_with_a_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    night = commands(tmp_path, monkeypatch, refresh=0.1)

    def delivery(day: int, n_docs: int) -> pd.DataFrame:
        rows = [
            {
                "id": f"{day}-{i:03}",
                "text": f"number {i} of day {day}",
                "labels": f"l{i % 3}",
                "annotated_at": f"2026-11-{day + 1:02}",
            }
            for i in range(n_docs)
        ]
        return pd.DataFrame(rows)

    before = night(delivery(0, 200))
    gone: set[str] = set()
    for day in range(1, 5):
        now = night(delivery(day, 40))
        moved = now["split"].reindex(before.index) != before["split"]
        assert set(before["split"][moved]) == {"test"} and set(
            now["split"][moved[moved].index]
        ) == {"train"}
        assert moved.sum() == now["retired"].sum() == round(0.1 * (before["split"] == "test").sum())
        gone |= set(moved[moved].index)
        assert (now["split"][sorted(gone)] == "train").all()
        size = now["split"].value_counts()
        assert abs(size["test"] - 0.2 * len(now)) <= 1 and abs(size["train"] - 0.6 * len(now)) <= 1
        before = now
    assert all(identity.startswith("0-") for identity in gone)  # the oldest
    assert capsys.readouterr().out.count("retired from test") == 4 + 3  # split's lines, ingest's
    files = ["data/corpus.parquet", "artifacts/split/assignment.parquet"]
    quiet = [Path(name).read_bytes() for name in files]
    night(delivery(4, 40))  # the same delivery again
    assert [Path(name).read_bytes() for name in files] == quiet


def folds_of(folder: Path) -> pd.Series:
    return read_folds(folder / "out" / "assignment.parquet")


def test_train_and_val_get_folds_and_copies_share_one(tmp_path: Path) -> None:
    frame = copied()
    parts, report = split(tmp_path, frame)
    folds, atoms = folds_of(tmp_path), read_groups(tmp_path / "out" / "assignment.parquet")
    assert (folds[parts == "test"] == -1).all()
    assert set(folds[parts != "test"]) == set(range(5))
    assert (folds.groupby(atoms).nunique() == 1).all()
    assert report["folds"] == folds[folds >= 0].value_counts().sort_index().tolist()
    split(tmp_path, frame, folds=0)
    assert (folds_of(tmp_path) == -1).all()


def test_a_fold_that_was_given_stays(tmp_path: Path) -> None:
    frame = corpus()
    parts, _ = split(tmp_path, frame[:-30])
    first = folds_of(tmp_path)
    frame["split"] = frame["id"].map(parts)
    frame[FOLD] = frame["id"].map(first.where(first >= 0)).astype("Int8")
    split(tmp_path, frame)
    second = folds_of(tmp_path)
    pd.testing.assert_series_equal(second[first.index], first)
    assert (second >= 0).sum() > (first >= 0).sum()


def test_too_few_documents_have_no_folds_and_it_is_said(tmp_path: Path) -> None:
    write_corpus(corpus()[:6].assign(split=["train", "train", "val", "val", "test", "test"]),
                 tmp_path / "corpus.parquet")  # fmt: skip
    said = run(
        corpus=tmp_path / "corpus.parquet",
        assignment=tmp_path / "out" / "assignment.parquet",
        split_report=tmp_path / "out" / "split.json",
        params=stage_params(Params, "split", {}),
    )
    assert said.endswith("too few documents for folds: everything is chosen on val alone")
    assert (folds_of(tmp_path) == -1).all()
