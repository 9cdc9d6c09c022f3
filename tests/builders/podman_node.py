"""A node of the stand-in for Kubernetes that runs pods for real, with `podman kube play`."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

from scripts import podman
from tests.builders.cluster import Cluster, terminated


class Node(Cluster):
    """A cluster whose pods `podman kube play` runs."""

    def run(self, pod: dict[str, Any]) -> None:
        manifest = playable(pod, self.home, self.secrets)
        name = manifest["metadata"]["name"]
        file = self.home / f"{name}.json"
        file.write_text(json.dumps(manifest))
        try:
            podman.podman("kube", "play", "--network=host", str(file))
            code = int(podman.podman("wait", f"{name}-base"))
            pod["log"] = logs(f"{name}-base")
        except RuntimeError as error:
            code, pod["log"] = 128, str(error)
        finally:
            podman.podman("pod", "rm", "--force", "--ignore", name)
        pod["status"] = terminated(code, pod["log"])
        pod["done"].set()


def logs(container: str) -> str:
    """Both streams, as the kubelet keeps them."""
    done = subprocess.run(["podman", "logs", container], env=podman.environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return done.stdout


def playable(pod: dict[str, Any], home: Path, secrets: dict[str, str]) -> dict[str, Any]:
    """The pod with what a kubelet resolves resolved: claim, sub-paths, fsGroup, secret keys."""
    manifest = {
        name: copy.deepcopy(pod[name]) for name in ("apiVersion", "kind", "metadata", "spec")
    }
    spec = manifest["spec"]
    [container] = spec["containers"]
    spec["volumes"] = []
    for i, mount in enumerate(container["volumeMounts"]):
        folder = home / mount.pop("subPath")
        folder.mkdir(parents=True, exist_ok=True)
        group = str(spec["securityContext"]["fsGroup"])
        subprocess.run(["chgrp", "--recursive", group, str(folder)], check=True)
        subprocess.run(["chmod", "--recursive", "g+rwX", str(folder)], check=True)
        mount["name"] = f"volume-{i}"
        spec["volumes"].append({"name": mount["name"], "hostPath": {"path": str(folder)}})
    container["securityContext"] = {"runAsUser": spec["securityContext"]["runAsUser"],
                                    "runAsGroup": spec["securityContext"]["fsGroup"]}  # fmt: skip
    container["imagePullPolicy"] = "Never"
    for variable in container["env"]:
        if source := variable.pop("valueFrom", None):
            variable["value"] = secrets[source["secretKeyRef"]["key"]]
    container.pop("envFrom", None)
    return manifest
