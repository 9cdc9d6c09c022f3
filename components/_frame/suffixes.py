"""Maps file extensions to formats; stdlib only, since orchestrators import it too."""

from __future__ import annotations

SUFFIXES: dict[str, str] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
}
TABS = (".tsv", ".tab")  # CSV whose cells are separated by tabs
