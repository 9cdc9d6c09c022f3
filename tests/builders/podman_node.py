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
            before = [
                logs(f"{name}-{c['name']}") for c in manifest["spec"].get("initContainers", ())
            ]
            code, pod["log"] = 128, "\n".join([str(error), *before])
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
    """The pod with what a kubelet resolves resolved: volumes, fsGroup, secret keys."""
    manifest = {
        name: copy.deepcopy(pod[name]) for name in ("apiVersion", "kind", "metadata", "spec")
    }
    spec = manifest["spec"]
    user, group = spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]
    claim = [volume["name"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
    names: dict[Path, str] = {}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for mount in container["volumeMounts"]:
            folder = home / mount.pop("subPath", "")
            if mount["name"] not in claim:  # the pod's own, empty at first
                folder = home / "pods" / manifest["metadata"]["name"] / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["chgrp", "--recursive", str(group), str(folder)], check=True)
            subprocess.run(["chmod", "--recursive", "g+rwX", str(folder)], check=True)
            mount["name"] = names.setdefault(folder, f"volume-{len(names)}")
        container["securityContext"] = {"runAsUser": user, "runAsGroup": group}
        container["imagePullPolicy"] = "Never"
        for variable in container["env"]:
            if source := variable.pop("valueFrom", None):
                variable["value"] = secrets[source["secretKeyRef"]["key"]]
        container.pop("envFrom", None)
    spec["volumes"] = [{"name": name, "hostPath": {"path": str(folder)}}
                       for folder, name in names.items()]  # fmt: skip
    return manifest
