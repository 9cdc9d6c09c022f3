"""The reader of the stage table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components._frame.exit_codes import BAD_PARAMETERS, ProjectError
from components._frame.launch import exit_code
from components._frame.pipeline import load_lock, load_stages


def row(name: str, *, deps: list[str], **outputs: Any) -> dict[str, Any]:
    cmd = f"python -m components.{name} --note 'two words'\n--out there"
    return {"desc": f"Do {name}.", "cmd": cmd, "deps": deps, "meta": {"image": "data"}} | outputs


def table() -> dict[str, dict[str, Any]]:
    return {
        "first": row("first", deps=["data"], outs=["artifacts/first"]),
        "second": row(
            "second",
            deps=["artifacts/first/corpus.parquet", "components/second.py"],
            outs=[{"artifacts/second/scores": {"persist": True}}],
            metrics=[{"reports/metrics.json": {"cache": False}}],
            plots=["reports/plot.csv"],
        ),
        "third": row("third", deps=["artifacts/second", "reports/plot.csv"], outs=["reports/x"]),
        "fourth": row("fourth", deps=["reports/plot.csv2", "artifacts/sec"]),
    }


def load(folder: Path, stages: dict[str, Any]):
    path = folder / "dvc.yaml"
    path.write_text(yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8")
    return load_stages(path)


def test_stages_keep_the_order_of_the_file_and_their_fields(tmp_path: Path) -> None:
    stages = load(tmp_path, table())
    assert [stage.name for stage in stages] == ["first", "second", "third", "fourth"]
    second = stages[1]
    assert second.desc == "Do second." and second.image == "data"
    assert second.argv == (
        "python", "-m", "components.second", "--note", "two words", "--out", "there",
    )  # fmt: skip
    assert second.deps == ("artifacts/first/corpus.parquet", "components/second.py")
    assert second.outs == ("artifacts/second/scores", "reports/metrics.json", "reports/plot.csv")


def test_upstream_follows_folders_both_ways_but_not_name_prefixes(
    tmp_path: Path,
) -> None:
    upstream = {stage.name: stage.upstream for stage in load(tmp_path, table())}
    # second reads a file in first's folder; third reads the folder that contains second's output.
    assert upstream == {"first": (), "second": ("first",), "third": ("second",), "fourth": ()}


def test_several_upstream_stages_are_sorted_and_named_once(tmp_path: Path) -> None:
    stages = table() | {"zero": row("zero", deps=["reports", "artifacts"])}
    assert load(tmp_path, stages)[-1].upstream == ("first", "second", "third")


@pytest.mark.parametrize("key", ["desc", "cmd", "meta"])
def test_a_stage_without_a_field_is_refused_by_name(tmp_path: Path, key: str) -> None:
    stages = table()
    del stages["second"][key]
    with pytest.raises(ValueError, match=f"stage 'second' has no '{key}'; add it."):
        load(tmp_path, stages)


def test_a_stage_without_an_image_is_refused_by_name(tmp_path: Path) -> None:
    stages = table()
    stages["third"]["meta"] = {}
    with pytest.raises(ValueError, match="stage 'third' has no 'meta.image'; add it."):
        load(tmp_path, stages)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"dvc\.yaml does not exist; run this in the project's root folder"),
        (b"stages: [", "is not YAML"),
        (b"\xff\xfe\xff", "is not YAML"),
        (b"", "expected `stages:`"),
        (b"- stages", "expected `stages:`"),
        (b"stages: 3", "expected `stages:`"),
        (b"stages: {train: 3}", "expected `stages:`"),
        (b"stages: {train: {cmd: python}}", "stage 'train' has no 'desc'"),
    ],
)
def test_a_missing_or_broken_file_is_said(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "dvc.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectError, match=reason) as found:
        load_stages(path)
    assert exit_code(found.value) == BAD_PARAMETERS


@pytest.mark.parametrize(
    "text", ["", "schema: '2.0'\nstages:\n  split:\n    cmd: py", "- 3\n", "stages: 3\n",
             "stages: {a: 3}\n", "stages: [\n", "\udcff\n"],
)  # fmt: skip
def test_half_a_lock_file_is_said_with_the_way_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dvc.lock"
    assert load_lock(path) == {}
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ProjectError, match=r"dvc\.lock is no whole lock.*git checkout .*dvc\.lock"):
        load_lock(path)
    path.write_text("schema: '2.0'\n")
    assert load_lock(path) == {}
    path.write_text("stages: {a: {cmd: b}}\n")
    assert load_lock(path) == {"a": {"cmd": "b"}}


@pytest.mark.parametrize(
    ("meta", "gpus", "processes"),
    [
        ({}, 0, 1),
        ({"gpu": True}, 1, 1),
        ({"gpus": 1}, 1, 1),
        ({"gpus": 4}, 4, 4),
        ({"processes": 2}, 0, 2),
        ({"gpus": 2, "processes": 2}, 2, 2),
    ],
)
def test_a_stage_has_a_process_per_gpu_or_as_many_as_it_says(
    tmp_path: Path, meta: dict[str, Any], gpus: int, processes: int
) -> None:
    [stage] = load(tmp_path, {"train": row("train", deps=[], meta={"image": "train"} | meta)})
    assert (stage.gpus, stage.processes) == (gpus, processes)
    prefix = ("python", "-m", "components._frame.on_gpu", str(gpus)) if gpus else ()
    assert stage.command == (*prefix, *stage.argv)


@pytest.mark.parametrize(
    ("name", "meta", "problem"),
    [
        ("train", {"gpus": "two"}, "'train' has `gpus: two`; expected a number from 0 on"),
        ("train", {"gpus": True}, "`gpus: True`; expected a number"),
        ("train", {"gpus": -1}, "`gpus: -1`; expected a number from 0 on"),
        ("train", {"processes": 0}, "`processes: 0`; expected a number from 1 on"),
        ("train", {"gpus": 2, "processes": 4}, "take `processes` out"),
        ("report", {"gpus": 2}, "`gpus: 2`, but only train shares its work"),
        ("report", {"processes": 2}, "`processes: 2`, but only train shares its work"),
    ],
)
def test_gpus_and_processes_that_a_stage_cannot_use_are_refused(
    tmp_path: Path, name: str, meta: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, {name: row(name, deps=[], meta={"image": "train"} | meta)})
    assert problem in str(caught.value)
