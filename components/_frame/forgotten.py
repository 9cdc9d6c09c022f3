"""The list of documents that must not come back: digests of their ids in `forgotten.txt`.

The list is beside the code, under git, and not among the data: whatever becomes of `data.dvc` in a
merge, whoever reads the list takes the documents out again. An id itself may name a person.

(Stdlib only, for orchestrators.)
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Set
from pathlib import Path

LIST = "forgotten.txt"
NIGHTS = "nightly"


def digest_of(identity: str) -> str:
    """The SHA-256 of an id, in hexadecimal digits."""
    return hashlib.sha256(identity.encode()).hexdigest()


def parsed(text: str) -> set[str]:
    """The digests in the text of a list."""
    return set(text.split())


def revisions_with(digests: Set[str], repo: Path = Path()) -> list[str]:
    """The branches and tags whose data may still have such documents.

    A night took out what its own list names. Of any other branch or tag, the last commit that
    changed `data.dvc` must have the list: `ingest` then made the data without them.
    """
    refs = _git(repo, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags")
    found = []
    for ref in refs.split():
        commit = ref
        if ref.partition("/")[0] not in (NIGHTS, f"{NIGHTS}-decided"):
            commit = _git(repo, "log", "-1", "--format=%H", ref, "--", "data.dvc").strip()
        if commit and not digests <= parsed(_git(repo, "show", f"{commit}:{LIST}")):
            found.append(ref)
    return found


def _git(repo: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=repo, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
