"""Finds the files of a project that was moved: MLflow's local store keeps absolute paths."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

FILES = "mlruns"
# Where MLflow's store keeps the place of files.
COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def follow(store: Path) -> None:
    """Point the store at the folder `mlruns` beside it, if all places that it names are gone."""
    here = store.resolve().parent / FILES
    if not store.exists() or not here.is_dir():
        return
    with closing(sqlite3.connect(store)) as database:
        gone = _gone(database, here)
        if not gone:
            return
        try:
            _point(database, gone, here)
        except sqlite3.OperationalError:  # somebody writes: as it was
            return
    print(
        f"{store}: the project was moved; its versions are read from {here} now.", file=sys.stderr
    )


def _point(database: sqlite3.Connection, gone: list[str], here: Path) -> None:
    """Replace these folders by `here` in all columns, or in none."""
    with database:
        for table, columns in COLUMNS.items():
            has = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            for column in has.intersection(columns):  # an older MLflow has fewer
                for old in gone:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE substr({column}, 1, ?) = ?",
                        (f"{here}/", len(old) + 1, len(old), old),
                    )


def _gone(database: sqlite3.Connection, here: Path) -> list[str]:
    """The folders that the store names, with a slash at the end; none if one is still there."""
    try:
        named = database.execute("SELECT artifact_location FROM experiments").fetchall()
    except sqlite3.Error:  # no table yet, or somebody writes
        return []
    folders = {Path(str(place)).parent for (place,) in named if str(place).startswith("/")}
    local = [folder for folder in folders if folder.name == FILES]
    if any(folder == here or folder.exists() for folder in local):
        return []
    return [f"{folder}/" for folder in local]
