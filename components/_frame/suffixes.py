"""Which reader a file's ending asks for; stdlib only, as orchestrators read it too."""

from __future__ import annotations

SUFFIXES: dict[str, str] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
