"""What all of the project's containers share: their user, mount point, images, and network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

IMAGES = "localhost/longtail-{target}:latest"
# The Kubernetes volume claim with the workspaces.
CLAIM = "longtail"
# Where a container sees its run's workspace.
MOUNT = "/workspace"
# Until a Docker host counts as gone: a busy one takes minutes to start a container.
API_SECONDS = 600
# The user of the images. Containers never run as root: if their starter is root, they run as USER.
USER = 10001


def container_user() -> str:
    """`uid:gid` of the containers that write into workspaces."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{USER}:{USER}"


def hand_over(folders: Iterable[Path]) -> None:
    """Give folders that containers write to over to their user; only root needs to."""
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", container_user(), *map(str, folders)], check=True)


def network() -> str:
    """The containers' network mode; `host` if MLflow listens on loopback."""
    return os.environ.get("LONGTAIL_NETWORK", "bridge")
