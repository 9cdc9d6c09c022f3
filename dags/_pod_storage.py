"""The pod of a step without a volume: a workspace of its own, filled before and stored after."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import models as k8s

from dags import _storage
from dags._containers import MOUNT
from dags._settings import Settings

SCRIPT = (Path(__file__).parent / "kubernetes_step.sh").read_text(encoding="utf-8")
# `-P`: the image's own code, not that of the workspace, which is the revision's.
COMMAND = ["python", "-P", "-m", "dags._storage_step"]
WORKSPACE, STATE = "workspace", "state"


@dataclass(frozen=True)
class PodStorage:
    """How a step's files get to its pod and back.

    Attributes:
        settings: Of this installation.
        image: The image that has DVC.
        remote: Options of DVC's remote, without secrets.
    """

    settings: Settings
    image: str
    remote: dict[str, str]

    def carried(self, folder: Path, step: str) -> AbstractContextManager[str]:
        """See `_storage.carried`."""
        return _storage.carried(self.settings, folder, step)

    def volumes(self) -> tuple[list[k8s.V1Volume], list[k8s.V1VolumeMount]]:
        """An empty workspace, and an empty state for caches; both end with the pod."""
        folders = {WORKSPACE: MOUNT, STATE: str(self.settings.state)}
        return (
            [k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource()) for name in folders],
            [k8s.V1VolumeMount(name=name, mount_path=path) for name, path in folders.items()],
        )

    def command(self, argv: Any) -> dict[str, Any]:
        """The operator's arguments that run a command and wait until its files are stored."""
        return {"cmds": ["sh", "-c", SCRIPT, "step"], "arguments": argv}

    def add_containers(self, pod: k8s.V1Pod, step: str, base: str, night: str) -> None:
        """Add the container before the step's own, `base`, and the one beside it."""
        [own] = [container for container in pod.spec.containers if container.name == base]
        told = {"LONGTAIL_NIGHT": night, "LONGTAIL_REMOTE": json.dumps(self.remote)}
        shared: dict[str, Any] = {
            "image": self.image,
            "env": [*own.env, *(k8s.V1EnvVar(name, value) for name, value in told.items())],
            "env_from": own.env_from,
            "volume_mounts": [m for m in own.volume_mounts if m.name == WORKSPACE],
            "working_dir": MOUNT,
            "termination_message_policy": own.termination_message_policy,
        }
        pull = k8s.V1Container(name="pull", command=[*COMMAND, "pull", step], **shared)
        storage = k8s.V1Container(name="storage", command=[*COMMAND, "push", step], **shared)
        pod.spec.init_containers = [*(pod.spec.init_containers or []), pull]
        pod.spec.containers = [*pod.spec.containers, storage]
