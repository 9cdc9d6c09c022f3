"""The flags of `python -m components.ingest`: one sub-command per source."""

from __future__ import annotations

import argparse
from pathlib import Path

from components._sources.form import Form
from longtail.corpora.normalize import NORMALIZERS
from longtail.corpora.synthetic import N_DOCS, N_LABELS

_FILES = {
    "parquet": "Parquet, labels as a list of strings",
    "jsonl": "JSON Lines, labels as a list of strings",
    "csv": "CSV or TSV with one column of labels",
    "onehot": "CSV or TSV with one 0/1 column per label",
}
_DEFAULTS = Form()


def parser(description: str | None) -> argparse.ArgumentParser:
    """The whole command line; without a sub-command only `--corrections` is applied."""
    root = argparse.ArgumentParser("python -m components.ingest", description=description)
    root.set_defaults(mode="append", normalize="", assignment=None)
    _where(root, Path("data"), None)
    sources = root.add_subparsers(dest="source", metavar="SOURCE")
    auto = sources.add_parser("auto", help="the default corpus, else the synthetic one")
    debian = sources.add_parser("debian", help="package descriptions and debtags, through apt")
    reuters = sources.add_parser("reuters", help="the Reuters-21578 archive, ModApte split")
    synthetic = sources.add_parser("synthetic", help="a seeded corpus of any size")
    reuters.add_argument("path", type=Path, metavar="PATH", help="reuters21578.tar.gz")
    reuters.add_argument("--val", type=int, metavar="N", help="train documents frozen as val")
    reuters.add_argument("--val-seed", type=int, default=123, metavar="S", help="seed of --val")
    _synthetic(synthetic)
    for name, text in _FILES.items():
        _file_format(name, sources.add_parser(name, help=text))
    for source in (debian, reuters, synthetic, *(sources.choices[name] for name in _FILES)):
        _merging(source)
    for source in (auto, *(sources.choices[name] for name in sources.choices if name != "auto")):
        _where(source, argparse.SUPPRESS, argparse.SUPPRESS)
        source.add_argument(
            "--normalize",
            default="",
            metavar="STEPS",
            help=f"clean the new texts: any of {','.join(NORMALIZERS)}, separated by commas",
        )
    return root


def _where(target: argparse.ArgumentParser, out: object, corrections: object) -> None:
    target.add_argument(
        "--out", type=Path, default=out, metavar="FOLDER", help="holds corpus.parquet (data)"
    )
    target.add_argument(
        "--corrections",
        type=Path,
        default=corrections,
        metavar="CSV",
        help="accepted label corrections: columns id, label, action (add or remove)",
    )


def _merging(target: argparse.ArgumentParser) -> None:
    mode = target.add_mutually_exclusive_group()
    for name, text in (
        ("append", "add new rows; an id that stands with other content is an error (default)"),
        ("update", "add new rows and take the new content of ids that stand"),
        ("replace", "start anew from these rows alone; no split is kept"),
    ):
        mode.add_argument(
            f"--{name}", dest="mode", action="store_const", const=name, default="append", help=text
        )
    target.add_argument(
        "--assignment",
        type=Path,
        metavar="PARQUET",
        help="the recorded split that stays frozen for the old rows "
        "(default: artifacts/split/assignment.parquet beside --out, if there)",
    )


def _synthetic(target: argparse.ArgumentParser) -> None:
    target.add_argument("--docs", type=int, default=N_DOCS, metavar="N", help="documents")
    target.add_argument("--labels", type=int, default=N_LABELS, metavar="N", help="labels")
    target.add_argument(
        "--wrong", type=float, default=0.05, metavar="SHARE", help="share of wrong annotations"
    )
    target.add_argument("--seed", type=int, default=0, metavar="S", help="seed")
    target.add_argument("--truth", type=Path, metavar="PARQUET", help="where true labels go")


def _file_format(name: str, target: argparse.ArgumentParser) -> None:
    target.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files to read")
    columns = ("id", "text") if name == "onehot" else ("id", "text", "labels")
    for column in columns:
        target.add_argument(f"--{column}-column", default=column, metavar="NAME", help="its name")
    if name != "onehot":
        target.add_argument(
            "--label-separator",
            metavar="CHAR",
            default="," if name == "csv" else None,
            help="parts labels that stand in one string",
        )
    if name in ("csv", "onehot"):
        target.add_argument("--separator", metavar="CHAR", help="of cells; comma, for .tsv a tab")
    if name == "onehot":
        target.add_argument(
            "--metadata-columns",
            type=lambda names: tuple(names.split(",")),
            default=(),
            metavar="NAMES",
            help="columns that are no labels, separated by commas",
        )
    if name != "parquet":
        target.add_argument("--encoding", default=_DEFAULTS.encoding, metavar="NAME", help="utf-8")
