"""The cases: what is run, on which files, in a workspace that is made anew for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from benchmarks.strange_inputs import blobs


@dataclass(frozen=True)
class Case:
    """One command with something strange about it.

    Attributes:
        group: For the table.
        name: What is strange.
        argv: Module, and its arguments; relative paths are those of `files`.
        files: What to put into the workspace before.
        stdin: What the command reads.
    """

    group: str
    name: str
    argv: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""


INGEST, PREDICT = "components.ingest", "components.predict"
GOOD = b'{"id": "a", "text": "A small program.", "labels": ["x"]}\n'
ENCODINGS = (
    "base64", "rot13", "hex", "zip", "bz2", "undefined", "punycode", "idna", "utf-7", "utf-16", "",
    "latin-1", "UTF8", "cp037", "nonsense", "raw_unicode_escape", "mbcs", "utf-8-sig", "a\nb",
)  # fmt: skip


def ingest() -> Iterator[Case]:
    for kind, files, suffix in (
        ("jsonl", blobs.json_lines() | blobs.foreign(), "jsonl"),
        ("csv", blobs.csv_files() | blobs.foreign(), "csv"),
        ("parquet", blobs.parquet_files() | blobs.foreign(), "parquet"),
        ("onehot", blobs.csv_files() | blobs.foreign(), "csv"),
    ):
        for name, content in files.items():
            argv = (INGEST, kind, f"in.{suffix}", "--out", "new")
            yield Case(f"ingest {kind}", name, argv, {f"in.{suffix}": content})
    text = b"id,text,labels\n1,some text,a\n"
    for encoding in ENCODINGS:
        argv = (INGEST, "csv", "in.csv", "--out", "new", "--encoding", encoding)
        yield Case("ingest options", f"--encoding {encoding!r}", argv, {"in.csv": text})
    for option, values in {
        "--separator": ("", "ab", "\n", '"', "\0", ","),
        "--label-separator": ("", "ab", "\n", " "),
        "--text-column": ("labels", "id", "", "nowhere", "x" * 10_000),
        "--labels-column": ("text", "id", "", "nowhere"),
        "--id-column": ("text", "labels", "", "nowhere"),
        "--normalize": ("", "nonsense", "html,html", ",", "HTML", "html,nfc,nfkc,urls,digits"),
        "--out": ("in.csv", "in.csv/under", "/proc/new", "x" * 300, "", "/dev/null", "."),
        "--corrections": ("in.csv", "nowhere.csv", ".", "/dev/null"),
        "--assignment": ("in.csv", "nowhere.parquet", ".", "/dev/null"),
    }.items():
        for value in values:
            out = () if option == "--out" else ("--out", "new")
            argv = (INGEST, "csv", "in.csv", *out, option, value)
            yield Case("ingest options", f"{option} {value[:20]!r}", argv, {"in.csv": text})
    for name in ("nowhere.csv", ".", "/dev/null", "/dev/full", "/proc/self/mem", "x" * 300, ""):
        yield Case("ingest options", f"path {name[:20]!r}", (INGEST, "csv", name, "--out", "new"))
    for words in (("csv",), ("nonsense",), (), ("csv", "in.csv", "in.csv"), ("auto", "x")):
        argv = (INGEST, *words, "--out", "new") if words else (INGEST, "--out", "new")
        yield Case("ingest options", f"words {words}", argv, {"in.csv": text})


def predict() -> Iterator[Case]:
    given = blobs.foreign()
    some = {k: v for k, v in blobs.json_lines().items() if k.split()[0] not in ("labels", "group")}
    for kind, files in (("jsonl", some), ("csv", blobs.csv_files()), ("txt", {})):
        for name, content in (files | given).items():
            argv = (PREDICT, "--model", MODEL, f"in.{kind}")
            yield Case(f"predict {kind}", name, argv, {f"in.{kind}": content})
    for name, content in given.items():
        yield Case("predict stdin", name, (PREDICT, "--model", MODEL), stdin=content)
    for name, content in (blobs.parquet_files() | given).items():
        if name.startswith(("text", "id")) or name in given:
            argv = (PREDICT, "--model", MODEL, "in.parquet")
            yield Case("predict parquet", name, argv, {"in.parquet": content})
    for option, values in {
        "--threshold": ("nan", "inf", "-1", "2", "x", ""),
        "--top-k": ("0", "-1", "99999999999999999999", "1.5", ""),
        "--model": ("nowhere", "in.jsonl", ".", "models:/", "models:/nowhere/1", "runs:/x", "",
                    "models:/longtail@nobody", "models:/longtail/999", "x" * 300),
        "--output": ("in.jsonl", ".", "/dev/full", "nowhere/out", "", "x" * 300),
        "--column": ("nowhere", "", "id"),
        "--format": ("xml", "", "parquet"),
        "--encoding": ENCODINGS,
    }.items():  # fmt: skip
        for value in values:
            model = () if option == "--model" else ("--model", MODEL)
            argv = (PREDICT, *model, "in.jsonl", option, value)
            yield Case("predict options", f"{option} {value[:20]!r}", argv, {"in.jsonl": GOOD})


MODEL = "artifacts/train/model"
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**400, 2**63, 1e300, float("nan"), "x", [], {},
)  # fmt: skip


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


def parameters(document: dict[str, Any]) -> Iterator[Case]:
    """Every field of params.yaml with every strange value, and broken files: `longtail check`."""
    for path in leaves(document):
        for value in VALUES:
            changed = json.loads(json.dumps(document))
            place = changed
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = value
            text = yaml.safe_dump(changed).encode()
            name = f"{'.'.join(path)}: {str(value)[:12]!r}"
            yield Case("parameters", name, ("components._cli.check",), {"params.yaml": text})
    broken = {
        "empty": b"", "a list": b"[]\n", "a tab": b"\ttrain: 1\n", "NUL": b"\0", "text": b"hi\n",
        "an anchor bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        b"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d]\n",
        "Latin-1": b"train: {encoder: caf\xe9}\n", "two documents": b"a: 1\n---\nb: 2\n",
        "a tag": b"a: !!python/object/apply:os.system [ls]\n", "one section": b"train: {}\n",
        "another section": b"trian: {}\n",
    }  # fmt: skip
    for name, content in broken.items():
        yield Case("parameters", name, ("components._cli.check",), {"params.yaml": content})


def registry() -> Iterator[Case]:
    """The files that the commands of the registry read, damaged one at a time."""
    damaged = {
        "empty": b"", "a number": b"3", "a list": b"[]", "an object": b"{}", "truncated": b'{"a": ',
        "null": b"null", "NULs": bytes(100), "Latin-1": b'{"a": "\xe9"}', "deep": b"[" * 50_000,
        "not ours": b'{"version": 7, "run_id": "x", "verdict": "promoted", "model_name": 3}',
        "other types": b'{"name": 3, "version": [], "verdict": [], "summary": 3, "model_name": {}, '
        b'"challenger": 5, "rules": 3, "rebase": "x", "decision_id": {}, "model": 3, "why": 3, '
        b'"outcome": [], "objective": 3, "format": "x", "models": 3, "alarms": 3, "judged": []}',
    }  # fmt: skip
    commands = {
        "decide": ("components.promote", "decide"), "apply": ("components.promote", "apply"),
        "history": ("components.promote", "history"), "register": ("components.register",),
        "drift": ("components.drift",), "summary": ("components._cli.summary:show",),
    }  # fmt: skip
    read = {
        "decide": ["registered.json", "metrics.json", "decision.json", "drift.json", "report.json",
                   "train/summary.json"],
        "apply": ["decision.json"],
        "register": ["metrics.json"], "summary": ["metrics.json", "decision.json", "outcome.json"],
    }  # fmt: skip
    for command, names in read.items():
        for file in names:
            for name, content in damaged.items():
                yield Case(f"registry {command}", f"{file} {name}", commands[command],
                           {f"reports/{file}": content})  # fmt: skip
    for reason in ("", " ", "[/red]", "x" * 10_000, "\0", "\u202e", "=1+1", "<script>"):
        for command in ("rollback", "hold", "release"):
            argv = ("components.promote", command, "--reason", reason)
            yield Case(f"registry {command}", f"reason {reason[:20]!r}", argv)
    for version in ("", "0", "-1", "999", "x", "1e3", "9" * 400):
        argv = ("components.promote", "rollback", "--reason", "why", "--to", version)
        yield Case("registry rollback", f"--to {version[:20]!r}", argv)


def groups(document: dict[str, Any]) -> list[Case]:
    return [*ingest(), *predict(), *parameters(document), *registry()]
