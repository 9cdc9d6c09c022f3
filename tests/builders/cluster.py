"""A Kubernetes API on loopback whose pods are child processes: one node, no images, no isolation.

It accepts what the published schemas accept, and reports the ends that it is told to report.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

from tests.builders.paths import ROOT

# The versions of Kubernetes that manifests and pods must suit: the oldest supported, the newest.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
IMAGE_ID = "registry.invalid/longtail@sha256:" + "5" * 64
POD = re.compile(r"/api/v1/namespaces/[^/]+/pods(?:/(?P<name>[^/]+)(?P<log>/log)?)?")


def validate(manifest: dict[str, Any]) -> None:
    """Check a manifest, unknown fields included, against the published schemas."""
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def waiting(reason: str, message: str) -> dict[str, Any]:
    """The status of a pod whose container does not start."""
    return status("Pending", {"waiting": {"reason": reason, "message": message}})


def terminated(code: int, output: str = "", reason: str = "") -> dict[str, Any]:
    """The status of a pod whose container has ended, with its last lines if it failed."""
    end: dict[str, Any] = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"),
                           "finishedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}  # fmt: skip
    if code:
        end["message"] = output[-2048:]
    return status("Failed" if code else "Succeeded", {"terminated": end})


def status(phase: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    scheduled = [{"type": "PodScheduled", "status": "True"}]
    container = {"name": "base", "image": "i", "imageID": IMAGE_ID, "ready": False,
                 "restartCount": 0, "state": state}  # fmt: skip
    return {"phase": phase, "conditions": scheduled, "containerStatuses": [container], **more}


def not_begun(code: int, output: str) -> dict[str, Any]:
    """The status of a pod whose init container has failed."""
    failed = terminated(code, output)
    [before] = failed.pop("containerStatuses")
    waits = status("Failed", {"waiting": {"reason": "PodInitializing"}})
    return waits | {"initContainerStatuses": [before | {"name": "pull"}]}


@dataclass
class Cluster:
    """What the API knows.

    Attributes:
        home: What the shared volume holds.
        secrets: Secret values by key.
        ends: The status that a step's pod gets instead of being run.
        pods: The pods there are.
        seen: All pods there ever were.
        refusal: What the API answers instead of creating a pod.
        calls: Resources and verbs that were asked for, as a Role names them.
    """

    home: Path
    secrets: dict[str, str] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    calls: set[tuple[str, str]] = field(default_factory=set)

    def create(self, pod: dict[str, Any]) -> dict[str, Any]:
        validate(pod)
        name = pod["metadata"]["name"]
        self.seen.append(json.loads(json.dumps(pod)))
        step = name.removeprefix("longtail-").rsplit("-", 1)[0]
        pod["status"] = self.ends.get(step) or status("Running", {"running": {}})
        pod["log"], pod["done"] = "", threading.Event()
        self.pods[name] = pod
        if step in self.ends:
            pod["done"].set()
        else:
            threading.Thread(target=self.run, args=(pod,), daemon=True).start()
        return pod

    def run(self, pod: dict[str, Any]) -> None:
        """Run the init containers one after the other, then the step and what is beside it."""
        with TemporaryDirectory(dir=self.home) as own:
            for before in pod["spec"].get("initContainers", ()):
                code, output = self.process(before, Path(own))
                if code:
                    pod["status"] = not_begun(code, output)
                    pod["done"].set()
                    return
            [base, *others] = pod["spec"]["containers"]
            beside = [threading.Thread(target=self.process, args=(other, Path(own)), daemon=True)
                      for other in others]  # fmt: skip
            for thread in beside:
                thread.start()
            code, pod["log"] = self.process(base, Path(own))
            for thread in beside:
                thread.join()
        pod["status"] = terminated(code, pod["log"])
        pod["done"].set()

    def process(self, container: dict[str, Any], own: Path) -> tuple[int, str]:
        """Run a container to its end; its exit code, and its output if the kubelet keeps it."""
        [mount] = [m for m in container["volumeMounts"] if m["mountPath"] == "/workspace"]
        # A subfolder of the volume, or an empty one of the pod's own.
        cwd = self.home / mount["subPath"] if "subPath" in mount else own / mount["name"]
        cwd.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"]}
        if container["name"] != "base":  # the image that has the DAGs
            env["PYTHONPATH"] = str(ROOT)
        for variable in container["env"]:
            key = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
            env[variable["name"]] = self.secrets[key] if key else variable.get("value", "")
        argv = [sys.executable if part == "python" else part
                for part in (*container["command"], *container.get("args", ()))]  # fmt: skip
        done = subprocess.run(argv, cwd=cwd, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        kept = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        return done.returncode, done.stdout if kept else ""


def right(method: str, match: re.Match[str] | None) -> tuple[str, str]:
    """The resource and the verb that a Role must allow for a call."""
    if not match:
        return "events", "list"
    read = "get" if match["name"] else "list"
    verb = {"POST": "create", "GET": read}.get(method, method.lower())
    return "pods/log" if match["log"] else "pods", verb


def public(pod: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pod.items() if name not in ("log", "done")}


def selected(pod: dict[str, Any], selector: str) -> bool:
    labels = pod["metadata"].get("labels", {})
    for term in filter(None, selector.split(",")):
        name, operator, value = re.fullmatch(r"!?([^=!]+)(!?=)?(.*)", term).groups()  # type: ignore
        if term.startswith("!"):
            matches = name not in labels
        else:
            matches = (labels.get(name) == value) == (operator == "=")
        if not matches:
            return False
    return True


class Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, code: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header(
            "Content-Type", "text/plain" if isinstance(body, str) else "application/json"
        )
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        match = POD.fullmatch(url.path)
        self.cluster.calls.add(right(self.command, match))
        if not match:
            self.answer(200, {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})
        elif self.command == "POST" and self.cluster.refusal:
            code, message = self.cluster.refusal
            self.answer(code, {"kind": "Status", "code": code, "message": message})
        elif self.command == "POST":
            self.answer(201, public(self.cluster.create(body)))
        elif not match["name"]:
            [selector] = parse_qs(url.query).get("labelSelector", [""])
            pods = [public(p) for p in list(self.cluster.pods.values()) if selected(p, selector)]
            self.answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
        elif not (pod := self.cluster.pods.get(match["name"])):
            self.answer(404, {"kind": "Status", "code": 404, "message": "not found"})
        elif match["log"]:
            pod["done"].wait()
            self.answer(
                200, "".join(f"2026-03-01T02:00:00.0Z {line}\n" for line in pod["log"].splitlines())
            )
        elif self.command == "DELETE":
            self.answer(200, public(self.cluster.pods.pop(match["name"])))
        else:
            if self.command == "PATCH":
                pod["metadata"].setdefault("labels", {}).update(body["metadata"]["labels"])
            self.answer(200, public(pod))

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815


@contextmanager
def serve(cluster: Cluster, kubeconfig: Path) -> Iterator[str]:
    """Serve the API, and write the configuration of its clients."""
    handler = type("ClusterHandler", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    address = f"http://127.0.0.1:{server.server_port}"
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }))  # fmt: skip
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
