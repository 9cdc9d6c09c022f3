"""The workspace of one run: check it out, find stale stages, record it (git and DVC only)."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from components._frame import forgotten
from components._frame.pipeline import Stage, load_stages
from dags._tools import WorkspaceError, commit_of, dvc, fetch_data, git, has_remote

BRANCH = forgotten.NIGHTS
# The last night with a decision; behind BRANCH if a run failed between record and decision.
DECIDED = "nightly-decided"
# Files that a run takes over from the record it starts from; the last lists the sources' files.
TAKEN_IN = "taken_in.json"
KEPT = ("data.dvc", "dvc.lock", TAKEN_IN)
RECORDED = (*KEPT, "params.yaml", forgotten.LIST)


@dataclass(frozen=True)
class Workspace:
    """A checkout for one run.

    Attributes:
        path: Its folder.
        key: Name of the logical date's record.
        commit: The code.
        base: The record that data and stage outputs come from, None before the first one.
        tip: Commit of the branch `nightly` at checkout, None before the first record.
        by_hand: Whether the data are those of the code's branch, where somebody committed a change
            of `data.dvc` since the last record.
        forgets: Whether the list of forgotten documents names some that the data may have.
    """

    path: str
    key: str
    commit: str
    base: str | None
    tip: str | None
    by_hand: bool = False
    forgets: bool = False

    @property
    def folder(self) -> Path:
        return Path(self.path)

    def to_dict(self) -> dict[str, str | bool | None]:
        return asdict(self)


def record_key(moment: datetime) -> str:
    """Name of a logical date's record; names sort like dates, and two moments never share one."""
    fraction = f"-{moment.microsecond:06}" if moment.microsecond else ""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H%M%SZ}{fraction}"


def records(cwd: Path) -> list[str]:
    """Keys of all recorded nights, oldest first."""
    names = git(cwd, "tag", "--list", f"{BRANCH}/*").splitlines()
    return sorted(name.removeprefix(f"{BRANCH}/") for name in names)


def key_of(repo: Path, moment: datetime, started: datetime) -> str:
    """Name of the record of a run that takes in what is new, whatever its date.

    That is its date's, unless the run waited while a later date was recorded: then it goes on from
    that record, under the moment at which it started.
    """
    key, recorded = record_key(moment), records(repo)
    overtaken = key not in recorded and any(name > key for name in recorded)
    return record_key(started) if overtaken else key


def prepare(
    repo: Path, folder: Path, key: str, revision: str | None = None, encoder: str | None = None
) -> Workspace:
    """Check out code and data in `folder`.

    Data and stage outputs come from the record of this date, else from the last one before it. If
    `data.dvc` was changed by hand since, the newest date takes the data from there.

    Args:
        repo: The project's repository.
        folder: Where to check out; replaced if it exists.
        key: Name of this date's record.
        revision: Branch, tag, or commit of the code. By default, the code of this date's record,
            else the repository's HEAD.
        encoder: Replaces `train.encoder` in the workspace's params.yaml.

    Raises:
        WorkspaceError: The revision does not exist, or its data and the record's both changed.
        ToolError: git or DVC failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(repo, "clone", "--quiet", "--shared", "--no-checkout", str(repo), str(folder))
    known = records(folder)
    past = [name for name in known if name <= key]
    base = commit_of(folder, f"{BRANCH}/{past[-1]}") if past else None
    exact = bool(past) and past[-1] == key
    code = revision or (base if exact else None) or git(repo, "rev-parse", "HEAD")
    commit = commit_of(folder, code) or commit_of(folder, f"origin/{code}")
    if commit is None:
        raise WorkspaceError(
            f"Revision {code!r} is not in {repo}; expected a branch, tag, or commit."
        )
    git(folder, "checkout", "--quiet", "--detach", commit)
    by_hand = False
    if base:
        by_hand = len(past) == len(known) and _changed_by_hand(folder, base, commit)
        recorded = git(folder, "ls-tree", "--name-only", base, *KEPT).splitlines()
        git(folder, "checkout", base, "--", *recorded)
        if by_hand:
            git(folder, "checkout", commit, "--", "data.dvc")
    forgets = _bring_list(repo, folder, base)
    fetch_data(repo, folder)
    if encoder:
        _set_encoder(folder / "params.yaml", encoder)
    tip = commit_of(folder, f"origin/{BRANCH}")
    return Workspace(str(folder), key, commit, base, tip, by_hand, forgets)


def _bring_list(repo: Path, folder: Path, base: str | None) -> bool:
    """Lay today's list of forgotten documents over every date's; whether it has more than `base`'s.

    So nothing brings them back: no merge of `data.dvc`, and no backfill of a date that had them.
    """
    head = git(repo, "rev-parse", "HEAD")
    if git(folder, "ls-tree", "--name-only", head, forgotten.LIST):
        git(folder, "checkout", head, "--", forgotten.LIST)
    else:
        git(folder, "rm", "--quiet", "--force", "--ignore-unmatch", forgotten.LIST)
    known = git(folder, "show", f"{base}:{forgotten.LIST}", check=False) if base else ""
    listed = folder / forgotten.LIST
    wanted = forgotten.parsed(listed.read_text("utf-8")) if listed.exists() else set()
    return not wanted <= forgotten.parsed(known)


def _changed_by_hand(folder: Path, base: str, commit: str) -> bool:
    """Whether the code's branch has other data than when a record was last made from it.

    Raises:
        WorkspaceError: The records since then have other data, too.
    """
    common = git(folder, "merge-base", base, commit, check=False)
    before, recorded, given = (_data_of(folder, at) for at in (common, base, commit))
    if given in (None, before, recorded):
        return False
    if recorded == before:
        return True
    raise WorkspaceError(
        f"data.dvc was changed by hand up to commit {commit[:10]}, and nights took in other data "
        f"since {common[:10]}, which that change lacks. On the code's branch, run `git merge "
        f"--strategy-option theirs {BRANCH}` and `dvc checkout data`; make the change again if it "
        "is still wanted, then `dvc add data` and commit data.dvc. Nothing was taken in tonight."
    )


def _data_of(folder: Path, revision: str) -> str | None:
    """The hash by which `data.dvc` pins the data in that revision, None if it does not."""
    text = git(folder, "show", f"{revision}:data.dvc", check=False) if revision else ""
    return yaml.safe_load(text)["outs"][0]["md5"] if text else None


def _set_encoder(params_file: Path, encoder: str) -> None:
    params = yaml.safe_load(params_file.read_text(encoding="utf-8"))
    params["train"]["encoder"] = encoder
    params_file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def wants_new_data(workspace: Workspace) -> bool:
    """Whether this date may ingest new texts: only if neither it nor a later one has a record."""
    return not any(name >= workspace.key for name in records(workspace.folder))


def is_newest(workspace: Workspace) -> bool:
    """Whether no later date has a record; a backfill's workspace is not the newest."""
    return all(name <= workspace.key for name in records(workspace.folder))


def check_same_table(workspace: Workspace, stages: list[Stage]) -> None:
    """Check that the DAG runs the revision's stages: the same arguments, images, and edges.

    Memory, descriptions, and files may differ; DVC reads those of the revision.

    Raises:
        WorkspaceError: It would run others.
    """
    found = {stage.name: stage for stage in load_stages(workspace.folder / "dvc.yaml")}
    expected = {stage.name: stage for stage in stages}
    wrong = [
        f"{name}.{part}"
        for name in sorted(found.keys() | expected.keys())
        for part in ("argv", "image", "upstream")
        if getattr(found.get(name), part, None) != getattr(expected.get(name), part, None)
    ]
    if wrong:
        raise WorkspaceError(
            "The checked-out revision's dvc.yaml has other stages than the one the DAG was built "
            f"from ({', '.join(wrong)}); run `dvc repro` on that revision by hand, or deploy its "
            "DAG."
        )


def stale_stages(
    workspace: Workspace, stages: list[Stage], force: bool, max_age_days: float | None
) -> list[str]:
    """The stages to run: those that DVC finds changed, and all that depend on them.

    Args:
        workspace: The run's workspace.
        stages: The DAG's table of stages.
        force: Run all stages.
        max_age_days: Run all stages if the last record is older than this.

    Raises:
        WorkspaceError: There is no data, or the table of stages differs.
        ToolError: DVC failed.
    """
    folder = workspace.folder
    check_same_table(workspace, stages)
    if not any((folder / "data").iterdir()):
        raise WorkspaceError(
            f"{folder}/data is empty: no data.dvc names data for {workspace.key}; give the run a "
            "source."
        )
    _put_back(folder, "data.dvc")
    dvc(folder, "add", "data")
    if force or (max_age_days is not None and _age_days(workspace) > max_age_days):
        return [stage.name for stage in stages]
    stale = set(json.loads(dvc(folder, "status", "--json") or "{}"))
    for stage in stages:
        if stale.intersection(stage.upstream):
            stale.add(stage.name)
    return [stage.name for stage in stages if stage.name in stale]


def _put_back(folder: Path, name: str) -> None:
    """Undo what an earlier try wrote: DVC writes in place, and a kill leaves half a file."""
    if git(folder, "ls-files", name):
        git(folder, "checkout", "--", name)
    else:
        (folder / name).unlink(missing_ok=True)


def _age_days(workspace: Workspace) -> float:
    """Days since the run's base was recorded; infinite without a base."""
    if workspace.base is None:
        return float("inf")
    recorded = int(git(workspace.folder, "show", "-s", "--format=%ct", workspace.base))
    return (time.time() - recorded) / 86_400


def is_undecided(workspace: Workspace) -> bool:
    """Whether the last record has no decision yet, or nothing was ever recorded."""
    decided = commit_of(workspace.folder, f"origin/{DECIDED}")
    newest = wants_new_data(workspace) or records(workspace.folder)[-1] == workspace.key
    return newest and (workspace.tip is None or workspace.tip != decided)


def record(workspace: Workspace) -> str:
    """Commit outputs to DVC's cache, and their hashes to the branch `nightly`, tagged by date.

    A date before the newest record gets its tag but leaves the branch alone. If a record, by this
    run or another, already has the same content, it only gets the tag.

    Returns:
        The commit of the record.

    Raises:
        WorkspaceError: Another run has recorded something else since `prepare`.
        ToolError: git or DVC failed.
    """
    folder = workspace.folder
    _put_back(folder, "dvc.lock")
    dvc(folder, "commit", "--force")
    if has_remote(folder):
        dvc(folder, "push")
    git(folder, "add", "--", *(name for name in RECORDED if (folder / name).exists()))
    tree = git(folder, "write-tree")
    git(folder, "fetch", "--quiet", "--tags", "--force", "origin")
    tag = f"refs/tags/{BRANCH}/{workspace.key}"
    newest = not any(name > workspace.key for name in records(folder))
    last = commit_of(folder, f"origin/{BRANCH}") if newest else commit_of(folder, tag)
    for existing in (commit_of(folder, tag), last):
        if existing and git(folder, "rev-parse", f"{existing}^{{tree}}") == tree:
            git(folder, "push", "--quiet", "origin", f"+{existing}:{tag}")
            return existing
    if newest and last != workspace.tip:
        raise WorkspaceError(
            "Another run has recorded a night since this workspace was checked out; clear this run "
            "from the task `workspace` so that it starts from that record."
        )
    parents = [argument for parent in (last, commit_of(folder, "HEAD")) if parent
               for argument in ("-p", parent)]  # fmt: skip
    commit = git(folder, "commit-tree", tree, *parents, "-m", f"Record {workspace.key}")
    heads = [f"{commit}:refs/heads/{BRANCH}"] if newest else []
    git(folder, "push", "--quiet", "--atomic", "origin", *heads, f"+{commit}:{tag}")
    return commit


def remember(workspace: Workspace) -> None:
    """Record a night that changed no result but took in files, or looked for forgotten documents.

    So no other night does it again.
    """
    ledger = workspace.folder / TAKEN_IN
    known = git(workspace.folder, "show", f"{workspace.base}:{TAKEN_IN}", check=False)
    took_in = ledger.exists() and ledger.read_text("utf-8").strip() != known
    if took_in or workspace.forgets:
        record(workspace)
        mark_decided(workspace)


def mark_decided(workspace: Workspace) -> None:
    """Move `nightly-decided` to this run's record, if it is the newest."""
    git(workspace.folder, "fetch", "--quiet", "origin")
    if commit_of(workspace.folder, f"{BRANCH}/{workspace.key}") == commit_of(
        workspace.folder, f"origin/{BRANCH}"
    ):
        git(workspace.folder, "push", "--quiet", "origin",
            f"+refs/remotes/origin/{BRANCH}:refs/heads/{DECIDED}")  # fmt: skip


def old_workspaces(workspaces: Path, keep_days: int) -> list[Path]:
    """The workspaces untouched for `keep_days` days."""
    limit = time.time() - keep_days * 86_400
    return sorted(entry for entry in workspaces.glob("*") if entry.stat().st_mtime < limit)


def clean(workspaces: Path, keep_days: int) -> list[str]:
    """Remove workspaces untouched for `keep_days` days, and return their names."""
    old = old_workspaces(workspaces, keep_days)
    for entry in old:
        shutil.rmtree(entry, ignore_errors=True)
    return [entry.name for entry in old]
