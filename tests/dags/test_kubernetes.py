"""Pods: nights through a Kubernetes API, what a pod's end says, what its specification holds."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from dags._kubernetes import PodOperator, kubernetes_operator
from dags._pods import load_pods, merged, raise_for_pod, to_dict, to_pod
from dags._process import ProcessOperator
from dags._settings import load_settings
from dags._steps import Step, step_names
from tests.builders import cluster as fake
from tests.builders.cluster import Cluster, terminated, validate, waiting
from tests.builders.nights import Nights, run
from tests.builders.paths import ROOT

FIRST = "2026-03-01T02:00:00"
PODS = """
images:
  data: registry.example/longtail-data@sha256:1111
default:
  spec:
    serviceAccountName: steps
    imagePullSecrets: [{name: registry}]
    tolerations: [{key: spot, operator: Exists}]
    containers:
      - name: base
        resources: {requests: {cpu: "1"}}
train:
  metadata: {annotations: {team: text}}
  spec:
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    containers:
      - name: base
        env: [{name: OMP_NUM_THREADS, value: "8"}]
        resources: {requests: {cpu: "8"}, limits: {cpu: "8"}}
"""


def pod_of(step: Step, **settings: Any) -> dict[str, Any]:
    """The manifest of a step's pod, as it goes to the cluster."""
    configured = replace(load_settings(), runner="kubernetes", **settings)
    operator = kubernetes_operator(configured, step, {"LONGTAIL_GIT_COMMIT": "abc"})
    return to_dict(operator.build_pod_request_obj(dry_run=True))


@pytest.fixture
def pods_file(tmp_path: Path, monkeypatch: Any) -> Path:
    file = tmp_path / "pods.yaml"
    file.write_text(PODS)
    monkeypatch.setenv("LONGTAIL_PODS", str(file))
    return file


def test_one_file_changes_all_pods_and_one_step_s(pods_file: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train = pod_of(Step("train", ("python",), "train", memory="4G", gpus=4))
    split = pod_of(Step("split", ("python",), "data"))
    for pod in (train, split):
        validate(pod)
        assert pod["spec"]["serviceAccountName"] == "steps"
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    [base] = train["spec"]["containers"]
    assert base["resources"] == {
        "limits": {"cpu": "8", "memory": "4G", "nvidia.com/gpu": "4"},
        "requests": {"cpu": "8", "memory": "4G", "nvidia.com/gpu": "4"},
    }
    assert [v["value"] for v in base["env"] if v["name"] == "OMP_NUM_THREADS"] == ["8"]
    assert len(base["volumeMounts"]) == 2
    assert [t["key"] for t in train["spec"]["tolerations"]] == ["nvidia.com/gpu"]
    assert train["metadata"]["annotations"] == {"team": "text"}
    [base] = split["spec"]["containers"]
    assert base["resources"]["requests"] == {"cpu": "1"}
    assert [t["key"] for t in split["spec"]["tolerations"]] == ["spot"]
    assert split["metadata"]["annotations"] == {}


def test_the_digest_of_a_pinned_image_is_recorded(pods_file: Path) -> None:
    [base] = pod_of(Step("split", ("python",), "data"))["spec"]["containers"]
    assert base["image"] == "registry.example/longtail-data@sha256:1111"
    digest = next(v["value"] for v in base["env"] if v["name"] == "LONGTAIL_IMAGE_DIGEST")
    assert digest == "sha256:1111"
    [base] = pod_of(Step("train", ("python",), "train"))["spec"]["containers"]
    assert base["image"] == "localhost/longtail-train:latest"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default: {spec: {toleration: []}}\ntrain: {spec: {toleration: [{key: a}]}}",
         "no field train.spec.toleration"),
        ("default: {spec: {containers: [{name: base, resource: {a: 1}}]}}",
         "no field default.spec.containers.0.resource"),
        ("default: {spec: {containers: [{image: x}]}}", "default: Invalid value for `name`"),
        ("- a", "expected the keys `images`, `default`"),
        ("train: [a", "cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_pods_file_is_refused_at_parse_time(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pods.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        load_pods(str(tmp_path / "pods.yaml"), ["train"])


def test_a_misspelled_step_is_refused_at_parse_time(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "pods.yaml").write_text("trian: {spec: {priorityClassName: low}}")
    monkeypatch.setenv("LONGTAIL_PODS", str(tmp_path / "pods.yaml"))
    with pytest.raises(ValueError, match=r"has 'trian'.* mean 'train'\?.*ingest, .*validate"):
        pod_of(Step("train", ("python",), "train"))


def test_the_names_of_all_steps_are_known() -> None:
    """Those that LONGTAIL_PODS may have are those that the DAGs have."""
    from dags import nightly_retraining, retention, rollback

    found = {
        task.task_id.removeprefix("stages.")
        for module in (nightly_retraining, retention, rollback)
        for task in module.dag.tasks
        if isinstance(task, ProcessOperator)
    }
    of_a_pool = {"queue"}  # nobody has named one here
    assert found | of_a_pool == set(step_names(load_settings().repo)) and len(found) > 12


def test_a_part_needs_no_containers(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "pods.yaml").write_text("default: {spec: {serviceAccountName: steps}}")
    monkeypatch.setenv("LONGTAIL_PODS", str(tmp_path / "pods.yaml"))
    pod = pod_of(Step("step", ("python",), "data"))
    assert pod["spec"]["serviceAccountName"] == "steps"
    assert len(pod["spec"]["containers"]) == 1


def test_a_missing_pods_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml, which cannot be read"):
        load_pods(str(tmp_path / "none.yaml"), [])


def test_named_items_are_merged_and_other_lists_replaced() -> None:
    under = {"a": [{"name": "x", "v": 1, "w": 1}], "t": [{"key": "k"}], "kept": 1}
    over = {"a": [{"name": "y"}, {"name": "x", "v": 2}], "t": []}
    assert merged(under, over) == {
        "a": [{"name": "x", "v": 2, "w": 1}, {"name": "y"}], "t": [], "kept": 1,
    }  # fmt: skip


def test_starting_has_its_own_time(monkeypatch: Any) -> None:
    monkeypatch.setenv("LONGTAIL_POD_START_SECONDS", "2400")
    operator = kubernetes_operator(
        load_settings(), Step("s", ("python",), "data"), {}, execution_timeout=timedelta(hours=1)
    )
    assert operator.startup_timeout_seconds == operator.schedule_timeout_seconds == 2400
    assert operator.execution_timeout == timedelta(hours=1, seconds=4800)


SECRETS = {
    "MLFLOW_TRACKING_URI": "https://user:planted-1@mlflow.example",
    "AWS_SECRET_ACCESS_KEY": "planted-2",
    "HF_ENDPOINT": "https://hub.example/?sig=planted-3",
}


def test_secrets_without_a_kubernetes_secret_are_refused(monkeypatch: Any) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="kubectl create secret generic longtail") as caught:
        pod_of(Step("step", ("python",), "data"))
    assert all(name in str(caught.value) for name in SECRETS)
    assert "planted" not in str(caught.value)


def test_secrets_are_references(monkeypatch: Any) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LONGTAIL_SECRET", "longtail")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://s3.example:9000")
    pod = pod_of(Step("step", ("python",), "data"))
    validate(pod)
    assert "planted" not in json.dumps(pod)
    env = {variable["name"]: variable for variable in pod["spec"]["containers"][0]["env"]}
    assert env["MLFLOW_S3_ENDPOINT_URL"]["value"] == "http://s3.example:9000"
    for name in SECRETS:
        reference = {"name": "longtail", "key": name}
        assert env[name]["valueFrom"] == {"secretKeyRef": reference}, "and never missing silently"


def end(status: dict[str, Any]) -> None:
    raise_for_pod(to_pod({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status}),
                  "base")  # fmt: skip


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
               "message": "0/3 nodes: insufficient nvidia.com/gpu"}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "outcome", "said"),
    [
        (terminated(3, "one\ntwo\nrow 7 is broken"), AirflowFailException, "row 7 is broken"),
        (terminated(4, "refused"), AirflowSkipException, "refused"),
        (terminated(75, "server down"), AirflowException, "server down"),
        (terminated(137, "", "OOMKilled"), AirflowException, "OOMKilled"),
        (terminated(128, "exec: no such file"), AirflowFailException, "exec: no such file"),
        (waiting("ImagePullBackOff", "tag 7 not found"), AirflowException,
         "ImagePullBackOff: tag 7 not found"),
        (waiting("InvalidImageName", "bad"), AirflowFailException, "InvalidImageName: bad"),
        (waiting("CreateContainerConfigError", 'secret "longtail" not found'), AirflowException,
         'secret "longtail" not found'),
        ({"phase": "Pending", "conditions": [UNSCHEDULED]}, AirflowException,
         "Unschedulable: 0/3 nodes: insufficient"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, AirflowException,
         "Evicted: low on memory"),
        (fake.status("Failed", {"terminated": {"exitCode": 137, "reason": "Error"}},
                     reason="NodeShutdown", message="node is down"), AirflowException,
         "NodeShutdown: node is down"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure(status: Any, outcome: type[Exception], said: str) -> None:
    with pytest.raises(AirflowException) as caught:
        end(status)
    assert type(caught.value) is outcome
    assert said in str(caught.value)


def test_success_and_a_running_pod_have_no_reason() -> None:
    end(terminated(0))
    end(fake.status("Running", {"running": {}}))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "home").mkdir()
    served = Cluster(tmp_path / "home")
    with fake.serve(served, tmp_path / "kubeconfig"):
        yield served


@pytest.fixture
def nights(airflow_home: Path, toy: Path, tmp_path: Path, cluster: Cluster) -> Nights:
    extra = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "LONGTAIL_SECRET": "longtail",
        "LONGTAIL_PODS": str(tmp_path / "pods.yaml"),
        "MLFLOW_TRACKING_URI": "http://user:planted-1@127.0.0.1:9",
        "AWS_SECRET_ACCESS_KEY": "planted-2",
    }
    # The toy project has no stage `train`.
    (tmp_path / "pods.yaml").write_text(PODS.replace("train:\n", "total:\n"))
    cluster.secrets.update({name: extra[name] for name in SECRETS if name in extra})
    return Nights(airflow_home, toy, cluster.home, "kubernetes", tuple(extra.items()))


def test_a_night_of_pods(nights: Nights, cluster: Cluster, airflow_home: Path) -> None:
    count = nights.repo / "toy" / "count.py"
    count.write_text(
        f"import os\nprint('At', os.environ['MLFLOW_TRACKING_URI'])\n{count.read_text()}"
    )
    run("git", "commit", "--quiet", "--all", "-m", "Talk", cwd=nights.repo)
    states, output = nights(FIRST)
    assert {name for name, state in states.items() if state != "success"} == {
        "approve",
        "ingest",
    }, output[-3000:]
    assert (nights.home / "state" / "champion").read_text() == "2"
    assert cluster.pods == {}, "every pod was deleted"
    assert len(cluster.seen) == 7
    assert fake.IMAGE_ID in output
    assert cluster.calls <= rights(), "docker/kubernetes/rbac.yaml"
    assert "At ***" in output
    assert "planted" not in output and "planted" not in json.dumps(cluster.seen)
    kept = [p for root in (airflow_home, nights.home) for p in root.rglob("*") if p.is_file()]
    assert not [p for p in kept if b"planted-" in p.read_bytes()]


def rights() -> set[tuple[str, str]]:
    """What the example's Role allows Airflow."""
    text = (ROOT / "docker" / "kubernetes" / "rbac.yaml").read_text(encoding="utf-8")
    [role] = [document for document in yaml.safe_load_all(text) if document["kind"] == "Role"]
    return {(resource, verb) for rule in role["rules"]
            for resource in rule["resources"] for verb in rule["verbs"]}  # fmt: skip


FAULTS = {
    "memory": (terminated(137, "epoch 3", "OOMKilled"), "OOMKilled"),
    "no image": (waiting("ErrImagePull", "manifest unknown"), "ErrImagePull: manifest unknown"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_pod_s_reason_is_in_the_notice(
    fault: str, nights: Nights, cluster: Cluster
) -> None:
    cluster.ends["count"], said = FAULTS[fault]
    states, output = nights(FIRST)
    assert states["stages.count"] == "failed", output[-3000:]
    notice = output.split("Notification:")[1][:500]
    assert said in notice
    assert "securityContext" not in output and "security_context" not in output
    assert cluster.pods == {}


@pytest.mark.slow
def test_a_finding_s_last_lines_are_in_the_notice(nights: Nights, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    states, output = nights(FIRST, source=str(tmp_path / "empty.jsonl"))
    assert states["ingest"] == "failed", output[-3000:]
    assert "empty.jsonl is empty" in output.split("Notification:")[1][:500]


@pytest.mark.slow
def test_a_refusal_by_the_api_is_told_with_its_message(nights: Nights, cluster: Cluster) -> None:
    cluster.refusal = (403, 'pods "longtail-count" is forbidden: exceeded quota: small')
    states, output = nights(FIRST)
    assert states["stages.count"] == "failed"
    notice = output.split("Notification:")[1][:500]
    assert "exceeded quota: small" in notice
    assert "HTTP response headers" not in notice


@pytest.mark.parametrize(("dag", "count"), [("nightly_retraining", 12), ("rollback", 2)])
def test_every_step_s_pod_suits_the_published_schemas(
    dag: str, count: int, pods_file: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LONGTAIL_RUNNER", "kubernetes")
    tasks = runpy.run_path(str(ROOT / "dags" / f"{dag}.py"))["dag"].tasks
    steps = [task for task in tasks if isinstance(task, PodOperator)]
    assert len(steps) == count
    for step in steps:
        if not isinstance(step.cmds, list):
            step.cmds = ["python"]  # an earlier task's output
        validate(to_dict(step.build_pod_request_obj(dry_run=True)))
