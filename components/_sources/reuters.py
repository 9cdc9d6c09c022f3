"""Reads the Reuters-21578 archive without unpacking it to disk."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import click

from components._formats.text_file import checked_file
from components._sources.rows import Rows
from components._sources.source import Source, option
from longtail.corpora.reuters import freeze_validation, reuters_records
from longtail.errors import DataError


def read_reuters(path: Path, val: int | None, val_seed: int) -> list[Rows]:
    """Read the ModApte documents of the archive, with their `split` frozen.

    Args:
        path: the tar archive.
        val: train documents that become val, drawn with the seed `val_seed`; None for none.
        val_seed: of the draw.

    Raises:
        DataError: `path` is not a readable tar archive with the SGML files.
    """
    try:
        with tarfile.open(checked_file(path)) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".sgm")]
            files = [
                archive.extractfile(member).read().decode("latin-1")  # type: ignore[union-attr]
                for member in sorted(members, key=lambda member: member.name)
            ]
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(
            f"{path} is not a readable tar archive ({error}); expected reuters21578.tar.gz."
        ) from None
    try:
        records = reuters_records(files)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if val is not None:
        records = freeze_validation(records, val, val_seed)
    return [Rows.of_records("reuters-21578", records)]


REUTERS = Source(
    "the Reuters-21578 archive, ModApte split",
    read_reuters,
    (
        click.Argument(["path"], type=Path, metavar="PATH"),
        option(
            "--val",
            help="number of train documents to freeze as val",
            type=click.IntRange(min=1),
            metavar="N",
        ),
        option(
            "--val-seed",
            help="random seed for --val",
            type=click.IntRange(0, 2**32 - 1),
            default=123,
            metavar="S",
        ),
    ),
)
