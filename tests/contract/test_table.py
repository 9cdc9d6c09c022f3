"""`dvc.yaml`, `components/`, `params.yaml` and the Dockerfile name the same things, both ways."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from components._cli.queue_params import Params as QueueParams
from components._formats.scores_params import Params as ScoresParams
from components._frame.component import paths_of, sections_of
from components._frame.pipeline import Stage, load_stages
from components._registry.client import RegisterParams
from components._registry.rules import Params as PromoteParams
from components.drift import Params as DriftParams
from components.predict import Params as PredictParams
from longtail import gate
from tests.builders.import_closure import is_code
from tests.builders.paths import ROOT

COMMANDS = {"ingest", "register", "promote", "predict", "drift"}
STAGES = load_stages(ROOT / "dvc.yaml")
NAMES = [stage.name for stage in STAGES]


def params() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def flags_of(stage: Stage) -> dict[str, str]:
    """`--flag path` pairs of a stage's command, after `python -m components.<stage>`."""
    rest = stage.argv[3:]
    assert len(rest) % 2 == 0, f"{stage.name}: flags and paths do not pair up: {rest}"
    return dict(zip(rest[::2], rest[1::2], strict=True))


def test_every_stage_has_a_file_and_every_file_a_stage() -> None:
    files = {p.stem for p in (ROOT / "components").glob("[!_]*.py")}
    assert files - COMMANDS == set(NAMES)
    assert len(NAMES) >= 7


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_flags_are_the_arguments_of_run(stage: Stage) -> None:
    module = importlib.import_module(f"components.{stage.name}")
    given = flags_of(stage)
    for kind, declared in (("input", stage.deps), ("output", stage.outs)):
        flags = {"--" + name.replace("_", "-") for name in paths_of(module.run, kind)}
        assert flags <= given.keys(), f"{stage.name}: {kind} flags missing in dvc.yaml"
        paths = {path for flag, path in given.items() if flag in flags}
        files = {path for path in declared if not is_code(path)}
        assert paths == files, f"{stage.name}: {kind}s of cmd and of dvc.yaml differ"
    assert len(given) == len(paths_of(module.run, "input") + paths_of(module.run, "output"))
    assert stage.argv[:3] == ("python", "-m", f"components.{stage.name}")


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_desc_is_the_first_docstring_line(stage: Stage) -> None:
    source = (ROOT / "components" / f"{stage.name}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring is not None
    assert stage.desc == docstring.splitlines()[0]


def sections(name: str) -> dict[str, type[BaseModel]]:
    """Section of params.yaml that the stage reads → its model."""
    return dict(sections_of(importlib.import_module(f"components.{name}").run).values())


def test_the_sections_of_params_that_each_stage_reads() -> None:
    """Its own first; what else it reads is another stage's section, with that stage's model."""
    table = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert {name: row["params"] for name, row in table.items()} == {
        name: list(sections(name)) for name in NAMES
    }
    for name in NAMES:
        own, *others = sections(name)
        assert own == name
        assert all(sections(name)[other] is models()[other] for other in others)
    # train reads thresholds, and scores as baseline does
    assert sum(len(sections(name)) for name in NAMES) == len(NAMES) + 3
    assert set(NAMES) <= params().keys() <= set(NAMES) | COMMANDS | {"queue", "scores"}


def models() -> dict[str, type[BaseModel]]:
    """Section of params.yaml → the model that reads it."""
    found = {name: sections(name)[name] for name in NAMES}
    return found | {
        "register": RegisterParams,
        "promote": PromoteParams,
        "predict": PredictParams,
        "drift": DriftParams,
        "queue": QueueParams,
        "scores": ScoresParams,
    }


def test_every_section_of_params_has_a_model() -> None:
    assert sorted(models()) == sorted(params())


def test_the_gate_reads_every_parameter_of_promote() -> None:
    """What it does not read: the served model's limits, a person's approval."""
    fields = {field.name for field in dataclasses.fields(gate.Rules)}
    own = PromoteParams.model_fields.keys() - {"limits", "approval"}
    assert fields == own | {
        "objective"
    }  # train's, so that the gate asks for what training chose by


@pytest.mark.parametrize("name", params())
def test_params_section_has_every_field_and_no_other(name: str) -> None:
    model, section = models()[name], params()[name]
    model.model_validate(section)
    assert_same_fields(model, section, name)


def assert_same_fields(model: type[BaseModel], section: dict[str, Any], where: str) -> None:
    """Field names, both ways and in depth; at most 12 a level, each scalar described."""
    assert section.keys() == model.model_fields.keys(), where
    assert len(section) <= 12, f"{where} has more than 12 fields; nest them"
    for name, field in model.model_fields.items():
        kind = field.annotation
        assert field.is_required(), f"{where}.{name}: its value lives in params.yaml alone"
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert_same_fields(kind, section[name], f"{where}.{name}")
        else:
            assert field.description, f"{where}.{name} has no description"


def test_images_are_targets_of_the_dockerfile() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.M | re.I))
    used = {stage.image for stage in STAGES}
    assert used and used <= targets


def test_edges_are_those_of_dvc() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "dvc", "dag", "--dot"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = set(re.findall(r'"([^"]+)" -> "([^"]+)"', printed))
    ours = {(upstream, stage.name) for stage in STAGES for upstream in stage.upstream}
    assert {(a, b) for a, b in found if a in NAMES} == ours
    assert len(ours) > len(NAMES)
