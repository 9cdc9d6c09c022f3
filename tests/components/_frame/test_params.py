"""Every field of params.yaml at, below, and above its range, and with values of the wrong kind."""

from __future__ import annotations

import copy
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from components._cli import check as check_file
from components._frame import params as params_file
from components._train.features import pretrained
from components._train.params import Params as TrainParams
from longtail.errors import ParameterError
from longtail.models import encoder as encoders
from longtail.models.bundled import BUNDLED
from tests.builders.params import stage_params
from tests.builders.paths import ROOT
from tests.contract.test_table import models

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
BOUNDS = ("ge", "gt", "le", "lt")
# Numbers without a lower and an upper bound, each with the reason.
UNBOUNDED = {
    "train.loss_options": "of each loss, which is made once with the options and has its own bounds"
}
# Sections that compare their fields with each other, and then name the section.
COMPARED = [("split", "fractions"), ("frequencies",)]
STRANGE: tuple[Any, ...] = (
    None, True, "", " ", "x", "a\nb", "\0", [], [[]], {}, {"a": {}}, {3: 4}, -1, 0, 10**400,
    -(2**63), 2**64, 1e300, 5e-324, math.nan, math.inf, -math.inf, "x" * 100_000, "1" * 5000,
    b"\xff",
)  # fmt: skip

Path_ = tuple[str, ...]


def leaves(model: type[BaseModel], path: Path_ = ()) -> Iterator[tuple[Path_, Any, list[Any]]]:
    """Path, type, and constraints of every field that is no section itself."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, (*path, name))
        else:
            yield (*path, name), kind, field.metadata


LEAVES = [
    (path, kind, rules)
    for section, model in models().items()
    for path, kind, rules in leaves(model, (section,))
]


def numbers(kind: Any, rules: list[Any]) -> Iterator[dict[str, float]]:
    """The bounds of each number in a type, also of those in lists, tables, and unions."""
    if typing.get_origin(kind) is Annotated:
        inner, *more = typing.get_args(kind)
        yield from numbers(inner, [*rules, *(r for m in more for r in getattr(m, "metadata", ()))])
    elif kind in (int, float, Any):
        yield {name: getattr(r, name) for r in rules for name in BOUNDS if hasattr(r, name)}
    elif typing.get_origin(kind) in (typing.Union, types.UnionType):
        for inner in typing.get_args(kind):
            yield from numbers(inner, rules)
    elif typing.get_origin(kind) in (list, dict):
        yield from numbers(typing.get_args(kind)[-1], [])


def test_every_number_has_a_lower_and_an_upper_bound():
    unbounded, seen = set(), 0
    for path, kind, rules in LEAVES:
        for bounds in numbers(kind, rules):
            seen += 1
            if not (bounds.keys() & {"ge", "gt"} and bounds.keys() & {"le", "lt"}):
                unbounded.add(".".join(path))
    assert unbounded == UNBOUNDED.keys()
    assert seen >= 60


def answer(path: Path_, value: Any) -> str:
    """What `longtail check` says to params.yaml with `value` at `path`; empty if it accepts it."""
    changed = copy.deepcopy(DOCUMENT)
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.MonkeyPatch.context() as patch:  # reading thousands of files would take minutes
        for module in (params_file, check_file):
            patch.setattr(module, "read_document", lambda path: changed)
        try:
            check_file.check()
        except ParameterError as error:
            return str(error)
    return ""


def assert_told(path: Path_, value: Any) -> bool:
    """The value is accepted, or refused in short lines that name the field; whether refused."""
    said = answer(path, value)
    where = ".".join(path)
    named = where in said or (path[:-1] in COMPARED and f"{'.'.join(path[:-1])}:" in said)
    assert not said or named, (where, value, said)
    assert len(said) < 2000, (where, len(said))
    return bool(said)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Once is enough, and another name would be looked for on the hub.
    known = encoders.without_weights(BUNDLED)
    monkeypatch.setattr(encoders, "without_weights", lambda name: known)


def test_of_many_errors_the_first_are_written_out():
    value = {f"label {number:02}": None for number in range(30)}
    said = answer(("promote", "limits", "max_int8_loss"), value).splitlines()
    assert said[0].endswith("has 30 invalid value(s):") and said[-1] == "  … and 18 more"
    assert "label 11" in said[-2] and len(said) == 14


@pytest.mark.parametrize("section", models())
def test_strange_values_are_accepted_or_told_by_section_and_field(section: str):
    for path, _, _ in LEAVES:
        if path[0] == section:
            for value in STRANGE:
                assert_told(path, value)
    for value in (7, "x", [], math.nan):
        assert_told((section,), value)


def test_no_field_leaves_its_range():
    tried = 0
    for path, kind, rules in LEAVES:
        if kind not in (int, float):
            continue
        (bounds,) = numbers(kind, rules)
        for name, bound in bounds.items():
            step = 1 if kind is int else 1e-9 * max(1, abs(bound))
            beyond = bound - step if name in ("ge", "gt") else bound + step
            assert assert_told(path, beyond), (path, beyond)
            assert name not in ("gt", "lt") or assert_told(path, bound), (path, bound)
            tried += 1
    assert tried >= 100


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)
)


@given(st.sampled_from([path for path, _, _ in LEAVES]), VALUES)
@example(("train", "loss_options"), {"db": {"gamma": math.nan}})
@example(("train", "loss_options"), {"db": {"reduction": 3}})
@example(("train", "loss_options"), {"cb": {"mode": []}})
@example(("train", "loss_options"), {"db": {"mu": 10**400}})
@example(("train", "loss_options"), {"bce": {"pos_weight": [[1], "x"]}})
@example(("train", "loss_options"), {"bce": {"pos_weight": {"a": 1}}})
@example(("train", "loss_options"), {"weighted_bce": {"temperature": math.inf, "cap": 1e300}})
@example(("train", "loss_options"), {"weighted_bce": {"temperature": 10**400}})
@example(("train", "loss_options"), {"focal": {"reweight": [3], "weight_norm": {}}})
@example(("train", "loss_options"), {"asl": {"": 1}})
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_any_field_is_accepted_or_told(path: Path_, value: Any):
    assert_told(path, value)


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", "a: [", "a: 2026-13-01", "a: " + "1" * 5000, "[" * 5000, "a: &a [*a]", "? []",
     "train: !!python/object/apply:os.system [ls]", "train: &a {seed: *a}", "\0", "3: 4"],
)  # fmt: skip
def test_a_file_that_is_no_params_is_one_short_message(text: str):
    Path("params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError) as told:
        check_file.check()
    assert len(str(told.value)) < 4000


def test_a_folder_in_place_of_the_file_is_told():
    Path("params.yaml").mkdir()
    with pytest.raises(ParameterError, match="cannot be read"):
        params_file.read_document()


@pytest.mark.parametrize("name", ["a/b", "a:b", 'a"b', "a'b", "a b", " ", "", ".", "..", "x" * 257])
def test_a_name_that_the_registry_cannot_keep_is_found_before_training(name: str):
    assert "register.model_name" in answer(("register", "model_name"), name)


@pytest.mark.parametrize("length", [512, 513])
def test_texts_longer_than_the_encoder_takes_are_found_before_training(length: int):
    said = answer(("train", "max_length"), length)
    expected = (
        "" if length == 512 else "train.max_length is 513, but the encoder 'all-MiniLM-L6-v2'"
    )
    assert said.startswith(expected) and bool(said) == bool(expected)


def test_the_stage_itself_compares_the_length_with_the_encoder():
    params = stage_params(TrainParams, "train", {"max_length": 513})
    with pytest.raises(ParameterError, match="takes at most 512 tokens"):
        pretrained(["a", "b"], params)
