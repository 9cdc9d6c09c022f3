"""Defines a source of documents: its flags, and the function that reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from components._sources.rows import FileFormat, Rows

Read = Callable[..., list[Rows]]


@dataclass(frozen=True)
class Source:
    """One subcommand of `ingest`.

    Attributes:
        help: one line for `--help`.
        read: called with the values of `options` by name.
        options: its own flags and arguments, in addition to those that all sources share.
    """

    help: str
    read: Read
    options: tuple[click.Parameter, ...] = ()


def option(
    *names: str, help: str, default: object = None, metavar: str = "NAME", **more: Any
) -> click.Option:
    """A flag whose default, if it has one, is shown in the help."""
    shown = default is not None
    return click.Option(
        names, help=help, default=default, metavar=metavar, show_default=shown, **more
    )


def column_option(name: str) -> click.Option:
    """The flag `--<name>-column`."""
    default = getattr(FileFormat(), f"{name}_column")
    return option(f"--{name}-column", help=f"column with the {name}", default=default)


def encoding_option() -> click.Option:
    return option("--encoding", help="encoding of the files", default=FileFormat().encoding)


def separator_option() -> click.Option:
    return option(
        "--separator", help="cell separator (default: comma; tab for .tsv)", metavar="CHAR"
    )


def file_source(
    help: str, read: Callable[[Path, FileFormat], Rows], *options: click.Option
) -> Source:
    """A source that reads one or more files; `options` have the names of FileFormat's fields."""
    fields = {field.name for field in dataclasses.fields(FileFormat)}

    def read_all(paths: tuple[Path, ...], **given: object) -> list[Rows]:
        file_format = FileFormat(**{name: given[name] for name in fields & given.keys()})  # type: ignore[arg-type]
        return [read(path, file_format) for path in paths]

    files = click.Argument(["paths"], type=Path, nargs=-1, required=True, metavar="PATH...")
    return Source(help, read_all, (files, *options))
