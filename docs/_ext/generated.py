"""Fills in pages while the site is built, so that they cannot drift from the code.

A page asks for a table with a comment on its own line: `<!-- generated: parameters -->`.
"""

from __future__ import annotations

import importlib
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.util import logging

from components._cli.check import SECTIONS
from components._cli.main import COMMANDS, longtail
from components._frame.pipeline import load_stages
from longtail.validation.rules import RULES

LOG = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def stages() -> str:
    """The stages of `dvc.yaml`: what each does, reads and writes, and its image."""
    lines = ["| stage | does | writes | image |", "|---|---|---|---|"]
    table = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in load_stages(ROOT / "dvc.yaml"):
        written = [
            f"`{next(iter(out)) if isinstance(out, dict) else out}`"
            for kind in ("outs", "metrics", "plots")
            for out in table[stage.name].get(kind, [])
        ]
        lines.append(f"| `{stage.name}` | {stage.desc} | {'<br>'.join(written)} | {stage.image} |")
    return "\n".join(lines)


def api(package: str) -> str:
    """The public names of each module, from the docstrings; of `longtail`, only its own."""
    folder = ROOT.joinpath(*package.split("."))
    files = folder.glob("*.py") if folder.parent == ROOT else folder.rglob("*.py")
    return "\n\n".join(
        f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```"
        for module in map(_module, filter(_is_public, sorted(files)))
    )


def _is_public(file: Path) -> bool:
    """Not an empty `__init__.py`, nor the top one, which only says what the package is."""
    if file.name == "__init__.py":
        return file.parent.name != "longtail" and file.stat().st_size > 0
    return not file.name.startswith("_")


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def rules() -> str:
    """The validation rules: what each finds, and its policy in `params.yaml`."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    policy = {
        code: chosen
        for room in values["validate"]["policy"].values()
        for code, chosen in room.items()
    }
    lines = ["| code | flags a document because | policy |", "|---|---|---|"]
    lines += [f"| `{code}` | {rule.finds} | {policy[code]} |" for code, rule in RULES.items()]
    return "\n".join(lines)


def commands() -> str:
    """The help of every sub-command of `longtail`, as the terminal shows it."""
    return "\n\n".join(_help("longtail", longtail, 1))


def _help(path: str, command: click.Command, level: int) -> Iterator[str]:
    settings = {**command.context_settings, "terminal_width": 88}
    context = click.Context(command, info_name=path, **settings)
    if level > 1:
        yield f"{'#' * level} {path}"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _help(f"{path} {name}", inner, level + 1)


def parameters() -> str:
    """Every parameter by section: its value in `params.yaml`, what is allowed, what it means."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return "\n\n".join(_section(name, values[name]) for name in values)


def _section(name: str, values: dict[str, Any]) -> str:
    # Of the stage or command; `scores` is read by two stages, and has a module of its own.
    stages = [f"components.{name}"] if (ROOT / "components" / f"{name}.py").exists() else []
    module = importlib.import_module([*COMMANDS.get(name, ())[:1], *stages, SECTIONS[name]][0])
    model = getattr(module, "Params", None) or typing.get_type_hints(module.run)["params"]
    lines = [
        f"## {name}\n\n{(module.__doc__ or '').splitlines()[0]}\n",
        "| parameter | value | meaning |",
        "|---|---|---|",
    ]
    for path, field, value in _fields(model, values):
        meaning = (field.description or "").rstrip(".").replace("|", r"\|")
        allowed = f'<span class="allowed">{_allowed(field)}</span>'
        lines.append(f"| `{path}` | {_shown(value)} | {meaning} {allowed} |")
    return "\n".join(lines)


def _fields(
    model: type[BaseModel], values: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Path, field and value of every parameter, nested ones too, in the order of the model."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, values[name], f"{prefix}{name}.")
        elif field.description is None:
            raise ValueError(f"{model.__module__}.{model.__name__}.{name} has no description")
        else:
            yield prefix + name, field, values[name]


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value:
        return "<br>".join(f"`{key}: {item}`" for key, item in value.items())
    if value is None or isinstance(value, bool):
        return f"`{yaml.safe_dump(value).split()[0]}`"
    return f"`{value}`" if not isinstance(value, list) else f"`[{', '.join(map(str, value))}]`"


def _allowed(field: FieldInfo) -> str:
    bounds = {
        name: getattr(rule, name)
        for rule in field.metadata
        for name in BOUNDS
        if hasattr(rule, name)
    }
    if bounds.keys() == {"ge", "le"}:
        limits = [f"{bounds['ge']:,} to {bounds['le']:,}"]
    else:
        limits = [f"{BOUNDS[name]} {value:,}" for name, value in bounds.items()]
    return ", ".join([_type(field.annotation), *limits])


def _type(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(", ".join(f"`{choice}`" for choice in inner).rsplit(", ", 1))
    if origin is Annotated:
        return _type(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(choice) for choice in inner)
    if origin in (list, tuple):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"{_type(inner[1])} by name"
    return {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}.get(
        hint, "`null`" if hint is type(None) else getattr(hint, "__name__", str(hint))
    )


def example() -> str:
    """What a run prints, as README shows it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^It ends like this.*?(?=^\S)", text, re.M | re.S)
    if shown is None:
        LOG.warning("README.md has no paragraph that begins with 'It ends like this'")
    return shown[0].rstrip() if shown else ""


def root(name: str) -> str:
    """A page of the project's folder, with links that work on the site."""

    def link(match: re.Match[str]) -> str:
        label, target = match.groups()
        if target.startswith(("http", "#")):
            return match[0]
        if not (ROOT / target.partition("#")[0]).exists():
            LOG.warning("%s links to %s, which does not exist", name, target)
        if target.startswith("docs/"):
            return f"[{label}]({target.removeprefix('docs/')})"
        return label  # a file that is not on the site

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", link, (ROOT / name).read_text(encoding="utf-8"))


TABLES: dict[str, Callable[..., str]] = {
    "api": api,
    "commands": commands,
    "example": example,
    "parameters": parameters,
    "root": root,
    "rules": rules,
    "stages": stages,
}
COMMENT = re.compile(r"^<!-- generated: (\w+)(.*) -->$", re.M)


def _fill_in(app: Any, page: str, source: list[str]) -> None:
    def table(match: re.Match[str]) -> str:
        name, arguments = match.groups()
        return TABLES[name](*arguments.split())

    source[0] = COMMENT.sub(table, source[0])


def setup(app: Any) -> dict[str, bool]:
    """Fill in the tables when Sphinx reads a page."""
    app.connect("source-read", _fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
