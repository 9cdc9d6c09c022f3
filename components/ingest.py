"""Read labeled documents into data/corpus.parquet: append, update, replace, correct or forget."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from components._formats import choices
from components._formats.csv_rows import MAX_CELL
from components._formats.labels_file import FILE, read_allowed
from components._frame.exit_codes import TemporaryError
from components._frame.files import check_replaceable, locked
from components._frame.forgotten import LIST, digest_of
from components._frame.launch import CONTEXT, launch
from components._sources import judgments, last_choices, merge, origins, reviews
from components._sources.csv_files import CSV
from components._sources.debian import DEBIAN, read_debian
from components._sources.doccano import DOCCANO
from components._sources.forget import Forgetting, read_ids, read_list, write_list
from components._sources.jsonl_files import JSONL
from components._sources.label_studio import LABEL_STUDIO
from components._sources.onehot import ONEHOT
from components._sources.parquet_files import PARQUET
from components._sources.relabel import Relabeling
from components._sources.reuters import REUTERS
from components._sources.rows import MOST_NESTED, Rows
from components._sources.source import Source
from components._sources.synthetic import SYNTHETIC, default_synthetic
from longtail.corpora.normalize import NORMALIZERS, normalizer
from longtail.errors import DataError, ParameterError

ORIGINS = "origins.parquet"
SHOWN = 20  # ids in a message
MODES = {
    "append": "add new rows; an existing id with different content is an error (default)",
    "update": "add new rows, and take the new content of existing ids",
    "replace": "start over with these rows only; no split is kept",
}


def read_auto() -> list[Rows]:
    """The default corpus, or the synthetic one if that is not available."""
    try:
        rows = read_debian()
        print(f"auto: Debian package tags ({rows[0].source}).")
    except (ParameterError, TemporaryError, DataError) as error:
        print(f"auto: the synthetic corpus, because Debian package tags are not available: {error}")
        rows = default_synthetic()
    return rows


AUTO = "auto"
SOURCES = {
    AUTO: Source("Debian package tags, else synthetic; keeps an existing corpus", read_auto),
    "debian": DEBIAN,
    "reuters": REUTERS,
    "synthetic": SYNTHETIC,
    "parquet": PARQUET,
    "jsonl": JSONL,
    "csv": CSV,
    "onehot": ONEHOT,
    "label_studio": LABEL_STUDIO,
    "doccano": DOCCANO,
}


def ingest(
    batches: Sequence[Rows],
    out: Path,
    *,
    mode: str = "append",
    assignment: Path | None = None,
    corrections: Path | None = None,
    freeze: bool = False,
    forgotten: Path | None = None,
    forget: Sequence[str] = (),
    migrate: bool = False,
) -> None:
    """Lock the folder, merge the rows that were read, and move the corpus into place.

    Args:
        batches: the rows of each file or source.
        out: folder of the corpus.
        mode: one of `MODES`.
        assignment: split to freeze for old rows; None takes the recorded one if it exists.
        corrections: CSV of label corrections; None for none.
        freeze: fill in the splits of old rows even if nothing is new.
        forgotten: list of the documents that must not be there; None takes the one next to `out`.
        forget: ids to add to that list.
        migrate: replace old labels in the corpus by the history in `labels.yaml`, not only in rows.
    """
    path = out / "corpus.parquet"
    if not batches and not path.exists():
        raise DataError(
            f"{path} does not exist; ingest a corpus first, such as with `longtail ingest auto`."
        )
    for file in (path, path.with_name(ORIGINS)):
        check_replaceable(file)
    if path.exists() and path.open("rb").read(4) != b"PAR1":
        raise DataError(
            f"{path} is no Parquet file, so no corpus; remove it, or pass another --out."
        )
    relabeling = Relabeling(read_allowed(out / FILE.name).fates, migrate)
    # Reviews first: the words of a question are those of its answer.
    batches = [relabeling.incoming(reviews.separated(rows)) for rows in batches]
    try:
        with locked(out):
            forgetting = Forgetting(forgotten or out.parent / LIST, forget)
            found = _merged(
                batches, path, mode, assignment, corrections, freeze, forgetting, relabeling
            )
            print(f"{path}: {found}")
    finally:
        with suppress(OSError):  # the folder, if nothing was written to it
            out.rmdir()


def _merged(
    batches: Sequence[Rows],
    path: Path,
    mode: str,
    assignment: Path | None,
    corrections: Path | None,
    freeze: bool,
    forgetting: Forgetting,
    relabeling: Relabeling,
) -> str:
    """Forget, merge, correct, freeze and save; a corpus that stays the same keeps its bytes."""
    fresh = mode == "replace" or not path.exists()
    columns = merge.empty() if fresh else merge.existing(path)
    columns = forgetting.without(columns)
    n_relabeled = relabeling.existing(columns)
    old_ids = set(columns["id"])
    files = {} if fresh else origins.read(path.with_name(ORIGINS))
    for identity in forgetting.gone:
        files.pop(identity, None)
    n_added = n_changed = n_corrected = n_frozen = n_retired = 0
    batches = [reviews.without_stale(columns, rows) for rows in batches]
    annotators = dict(zip(columns["id"], columns.get("annotator", ()), strict=False))
    for rows in batches:
        skip = forgetting.refused(rows) | judgments.outdated(columns, rows)
        columns, added, changed = merge.merge(
            columns, rows, mode == "update", files, skip=skip, fates=relabeling.fates
        )
        n_added, n_changed = n_added + added, n_changed + changed
    if corrections is not None:
        n_corrected = merge.correct(columns, corrections)
    if not columns["id"]:
        sources = ", ".join(rows.source for rows in batches)
        raise DataError(
            f"No documents would be left in {path}; expected at least one. Nothing was changed."
            if forgetting.gone
            else f"No documents in {sources}, expected at least one."
        )
    n_forgotten = len(forgetting.gone)
    same = not (n_added or n_changed or n_corrected or n_forgotten or n_relabeled)
    recorded = assignment or path.parent.parent / "artifacts/split/assignment.parquet"
    if (freeze or not same) and old_ids and (assignment or recorded.exists()):
        n_frozen, n_retired = merge.freeze(columns, old_ids, recorded)
    unchanged = same and not (n_frozen or n_retired)
    chosen = last_choices.of(path) if old_ids and not unchanged else None
    # From here on it is written; what can be wrong has been found.
    reviews.add(path.with_name(reviews.FILE), batches, annotators, forgetting.matching)
    judgments.add(path.with_name(judgments.FILE), batches, forgetting.matching)
    relabeling.judgments(path.with_name(judgments.FILE))
    forgetting.carry_out(path.parent)
    counts = f"{n_added:,} added, {n_changed:,} changed, {n_corrected:,} labels corrected"
    counts += f", {n_forgotten:,} forgotten" if n_forgotten else ""
    counts += f", {n_relabeled:,} relabeled" if n_relabeled else ""
    if unchanged:
        return f"nothing new, left unchanged ({len(old_ids):,} documents)."
    origins.write(files, path.with_name(ORIGINS))
    last_choices.lay(chosen, path.with_name(choices.FILE))
    merge.save(columns, path)
    counts += f", {n_frozen:,} splits frozen"
    counts += f", {n_retired:,} retired from test" if n_retired else ""
    return f"{_size(columns)} ({counts})."


def _size(columns: merge.Columns) -> str:
    n_docs, n_pairs = len(columns["id"]), sum(map(len, columns["labels"]))
    n_labels = len({label for labels in columns["labels"] for label in labels})
    return f"{n_docs:,} documents, {n_labels:,} labels, {n_pairs / n_docs:.2f} per document"


def _path(flag: str, metavar: str, text: str) -> click.Option:
    return click.Option([flag], type=Path, metavar=metavar, help=text)


def _out() -> click.Option:
    return _path("--out", "FOLDER", "folder for corpus.parquet (default: data)")


def _corrections() -> click.Option:
    columns = "columns id, label, action (add or remove)"
    return _path("--corrections", "CSV", f"label corrections: {columns}")


def _assignment() -> click.Option:
    default = "artifacts/split/assignment.parquet next to --out, if it exists"
    return _path("--assignment", "PARQUET", f"split to freeze for old rows (default: {default})")


def _freeze() -> click.Option:
    return click.Option(
        ["--freeze"], is_flag=True, help="freeze the split of old rows even if nothing is new"
    )


def _forgotten() -> click.Option:
    default = f"{LIST} next to --out"
    text = f"digests of ids that are not taken in (default: {default})"
    return _path("--forgotten", "LIST", text)


def _forget() -> click.Option:
    text = "remove these documents for good: ids, one per line, or JSON Lines"
    return _path("--forget", "FILE", text)


def _lift() -> click.Option:
    text = "let documents that were forgotten be ingested again: ids, as for --forget"
    return _path("--lift", "FILE", text)


def _common(name: str) -> list[click.Parameter]:
    """The flags that all sources share; `auto` has none for merging."""
    steps = f"clean new texts, comma-separated: {', '.join(NORMALIZERS)}"
    shared: list[click.Parameter] = [
        _out(),
        _corrections(),
        _forgotten(),
        click.Option(["--normalize"], default="", metavar="STEPS", help=steps),
    ]
    if name == AUTO:
        return shared
    modes = [click.Option([f"--{mode}"], is_flag=True, help=text) for mode, text in MODES.items()]
    return [*modes, _assignment(), _freeze(), *shared]


def _mode(given: dict[str, Any]) -> str:
    chosen = [mode for mode in MODES if given.pop(mode, False)]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} cannot be combined.")
    return chosen[0] if chosen else "append"


def _command(name: str, source: Source) -> click.Command:
    own = {str(parameter.name) for parameter in source.options}

    def call(**given: Any) -> None:
        parent = click.get_current_context().parent
        outer = parent.params if parent else {}
        clean = normalizer(step for step in given.pop("normalize").split(",") if step)
        mode, options = _mode(given), {key: given.pop(key) for key in own}
        out = given.pop("out") or outer.get("out") or Path("data")
        for shared in ("corrections", "assignment", "freeze", "forgotten"):
            given[shared] = given.get(shared) or outer.get(shared)
        kept = name == AUTO and (out / "corpus.parquet").exists()
        batches = [] if kept else source.read(**options)
        for rows in batches:
            rows.columns["text"] = [clean(text) for text in rows.columns["text"]]
        ingest(batches, out, mode=mode, **given)

    params = [*source.options, *_common(name)]
    return click.Command(name, CONTEXT, call, params, help=source.help)


def _without_source(out: Path | None, forget: Path | None, lift: Path | None, **given: Any) -> None:
    context = click.get_current_context()
    out = out or Path("data")
    if forget or lift:
        if context.invoked_subcommand or (forget and lift):
            raise click.UsageError("pass --forget or --lift alone, without a SOURCE")
        if forget:
            forget_documents(read_ids(forget), out, **given)
        elif lift:
            lift_documents(read_ids(lift), given["forgotten"] or out.parent / LIST)
    elif context.invoked_subcommand is None:
        if not any(given.values()):
            raise click.UsageError(
                "pass a SOURCE, or --corrections, --freeze, --forget, or --forgotten for the "
                "existing corpus"
            )
        ingest([], out, **given)


def forget_documents(ids: Sequence[str], out: Path, **given: Any) -> None:
    """Remove documents for good, and say which were not found and what still has the others."""
    listed = given["forgotten"] or out.parent / LIST
    path = out / "corpus.parquet"
    if path.exists():
        known = set(merge.existing(path)["id"])
        ingest([], out, forget=ids, **given)
    else:
        known = set()
        Forgetting(listed, ids).carry_out(out)
        print(f"{path} does not exist, so nothing was removed here.")
    missing = [identity for identity in ids if identity not in known]
    print(f"{len(ids) - len(missing):,} of {len(ids):,} documents found and removed.")
    if missing:
        shown = ", ".join(map(repr, missing[:SHOWN])) + ", …" * (len(missing) > SHOWN)
        print(f"Not in the corpus, but remembered with the others: {shown}")
    print(
        f"{listed} keeps the digests of the ids, not the ids: no later delivery brings these "
        "documents back, unless `longtail ingest --lift FILE` is run. Commit the list, and the "
        "next night forgets them, too."
    )
    try:
        from components._registry import holders
    except ImportError:  # the image of `ingest` has no MLflow
        print("What still has them was not looked at: MLflow is not installed here.")
        return
    print("What still has them:")
    for line in holders.told({digest_of(identity) for identity in ids}, out):
        print(f"- {line}")


def lift_documents(ids: Sequence[str], path: Path) -> None:
    """Take ids off the list, so that the documents can be ingested again."""
    listed, lifted = read_list(path), {digest_of(identity) for identity in ids}
    write_list(listed - lifted, path)
    print(
        f"{path}: {len(listed & lifted):,} of {len(ids):,} ids lifted, {len(listed - lifted):,} "
        "left. Commit it, then ingest a file that has the documents."
    )


command = click.Group(
    "ingest",
    {name: _command(name, source) for name, source in SOURCES.items()},
    invoke_without_command=True,
    subcommand_metavar="SOURCE [ARGS]...",
    params=[_out(), _corrections(), _assignment(), _freeze(), _forgotten(), _forget(), _lift()],
    callback=_without_source,
    context_settings=CONTEXT,
    help=__doc__,
    epilog=f"A text has at most {MAX_CELL:,} characters, and a value is nested {MOST_NESTED} deep "
    "at most. What was seen to work (documents, labels, columns): docs/data.md, Limits.",
)

if __name__ == "__main__":
    launch(command)
