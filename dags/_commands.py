"""What a night runs besides the stages of dvc.yaml: argument lists and images."""

from __future__ import annotations

# By name: what is run, and the Dockerfile target whose image has its libraries.
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "register": (("python", "-m", "components.register"), "train"),
    "decide": (("python", "-m", "components.promote", "decide"), "train"),
    "apply": (("python", "-m", "components.promote", "apply"), "train"),
    # Last: the others go on without it.
    "drift": (("python", "-m", "components.drift"), "train"),
}
# What `drift` reads, besides the registry: it starts as soon as this is there.
CORPUS = "artifacts/validate/corpus.parquet"
