"""Each step's pod for real: a night through the stand-in for the API, whose node is Podman."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts import podman
from tests.builders.cluster import Cluster, serve, terminated
from tests.builders.nights import Nights

pytestmark = pytest.mark.containers
FIRST = "2026-03-01T02:00:00"


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


def test_a_night_of_real_pods(airflow_home: Path, toy: Path, tmp_path: Path, images: str) -> None:
    node = Node(tmp_path / "home", secrets={"HF_TOKEN": "planted-1"})
    node.home.mkdir()
    extra = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "LONGTAIL_SECRET": "longtail",
        "LONGTAIL_IMAGES": "localhost/longtail-{target}:latest",
        "HF_TOKEN": "planted-1",
    }
    nights = Nights(airflow_home, toy, node.home, "kubernetes", tuple(extra.items()))
    with serve(node, tmp_path / "kubeconfig"):
        states, output = nights(FIRST)
    skipped = {"approve", "ingest"}
    assert {name for name, state in states.items() if state != "success"} == skipped, (
        output.partition("Notification:")[2][:4000]
    )
    champion = nights.home / "state" / "champion"
    assert (champion.read_text(), champion.stat().st_uid) == ("2", 10001)
    used = {pod["spec"]["containers"][0]["image"] for pod in node.seen}
    assert used == {f"localhost/longtail-{target}:latest" for target in ("data", "train")}
    assert "planted" not in output
    assert podman.podman("ps", "--all", "--quiet") == ""
