"""How a run's tasks find its workspace: the task `workspace` pushes it, the others pull it."""

from __future__ import annotations

from typing import Any

from dags._workspace import Workspace

# Templates: the workspace's path, its folder's name, and one field of its `Workspace`.
PATH = "{{ ti.xcom_pull(task_ids='workspace', key='path') }}"
FOLDER_NAME = "{{ ti.xcom_pull(task_ids='workspace', key='path').rsplit('/', 1)[-1] }}"
FIELD = "{{ ti.xcom_pull(task_ids='workspace', key='workspace')['%s'] }}"


def push_workspace(ti: Any, workspace: Workspace) -> None:
    """Push the workspace from the task `workspace`."""
    ti.xcom_push("workspace", workspace.to_dict())
    ti.xcom_push("path", workspace.path)


def pull_workspace(ti: Any) -> Workspace:
    """The run's workspace, in a task after `workspace`."""
    return Workspace(**ti.xcom_pull(task_ids="workspace", key="workspace"))


def pull_path(ti: Any) -> str | None:
    """The workspace's path, None before the task `workspace` has pushed it."""
    path = ti.xcom_pull(task_ids="workspace", key="path")
    return str(path) if path else None
