"""Storage `remote`: steps in empty folders of their own, outages, kills, and the pods."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from components._frame.pipeline import load_stages
from components._frame.usage import read_usage
from dags import _storage
from dags import _workspace as ws
from dags._commands import COMMANDS
from dags._kubernetes import PodOperator, kubernetes_operator
from dags._parcel import contents, pack, reads
from dags._pod_storage import SCRIPT
from dags._pods import raise_for_pod, to_dict, to_pod
from dags._remote import CredentialsError, Remote
from dags._settings import Settings, load_settings
from dags._source import ingest_command
from dags._steps import Step
from dags._tools import ToolError, WorkspaceError
from tests.builders import cluster as fake
from tests.builders.cluster import Cluster, validate
from tests.builders.nights import Nights, run
from tests.builders.paths import ROOT
from tests.builders.pod_step import PodStep
from tests.builders.real_project import assert_same, make_project, reproduce
from tests.builders.s3 import (
    BUCKET,
    SKEWED,
    SLOW_DOWN,
    asking,
    checking_credentials,
    client,
    keys,
    serve_s3,
)

FIRST, KEY = "2026-03-01T02:00:00", "2026-03-01T020000Z"
DVC = (sys.executable, "-m", "dvc")
STAGES = load_stages(ROOT / "dvc.yaml")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with serve_s3() as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield settings


@pytest.fixture
def options(s3: dict[str, str]) -> dict[str, str]:
    return {"url": f"s3://{BUCKET}/dvc", "endpointurl": s3["AWS_ENDPOINT_URL"]}


def add_remote(project: Path, options: dict[str, str]) -> Path:
    """A default remote in S3; credentials come from the environment."""
    run(*DVC, "remote", "add", "--quiet", "--default", "storage", options["url"], cwd=project)
    address = options["endpointurl"]
    run(*DVC, "remote", "modify", "--quiet", "storage", "endpointurl", address, cwd=project)
    run("git", "commit", "--quiet", "--all", "-m", "Remote", cwd=project)
    return project


@pytest.fixture
def project(toy: Path, options: dict[str, str]) -> Path:
    return add_remote(toy, options)


def use(project: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of an installation on Kubernetes without a volume."""
    told = {"RUNNER": "kubernetes", "STORAGE": "remote", "REPO": project, "HOME": home}
    for name, value in told.items():
        monkeypatch.setenv(f"LONGTAIL_{name}", str(value))
    return load_settings()


@pytest.fixture
def settings(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return use(project, tmp_path / "home", monkeypatch)


@pytest.fixture
def checkout(settings: Settings, project: Path) -> ws.Workspace:
    """Airflow's workspace of a night that has planned all three stages."""
    found = ws.prepare(project, settings.workspaces / "night", KEY)
    stages = load_stages(found.folder / "dvc.yaml")
    assert ws.stale_stages(found, stages, False, None) == ["count", "total", "page"]
    return found


def argv_of(checkout: ws.Workspace, step: str) -> tuple[str, ...]:
    return next(s.argv for s in load_stages(checkout.folder / "dvc.yaml") if s.name == step)


@pytest.mark.slow
def test_stages_in_empty_folders_make_what_a_plain_run_makes(
    settings: Settings, checkout: ws.Workspace, project: Path, options: dict[str, str],
    s3: dict[str, str], tmp_path: Path,
) -> None:  # fmt: skip
    given = {"count": ["data/first.jsonl"], "total": ["artifacts/count.json"],
             "page": ["artifacts/total.json"]}  # fmt: skip
    for step, inputs in given.items():
        with _storage.carried(settings, checkout.folder, step) as night:
            pod = PodStep(step, night, options, tmp_path / "pods" / step)
            assert pod.pull() == 0, pod.said
            there = [str(p.relative_to(pod.folder)) for name in ("data", "artifacts", "reports")
                     for p in (pod.folder / name).rglob("*") if p.is_file()]  # fmt: skip
            assert there == inputs, "what dvc.yaml names, and no more"
            assert not (pod.folder / ".git").exists()
            assert pod.run(argv_of(checkout, step)) == 0, pod.said
    run(*DVC, "repro", "--quiet", cwd=project)
    for name in ("artifacts/count.json", "artifacts/total.json", "reports/page.txt"):
        assert (checkout.folder / name).read_bytes() == (project / name).read_bytes()
    locks = [yaml.safe_load((folder / "dvc.lock").read_text())
             for folder in (checkout.folder, project)]  # fmt: skip
    assert locks[0] == locks[1]
    ws.record(checkout)
    assert yaml.safe_load(run("git", "show", "nightly:dvc.lock", cwd=project)) == locks[1]
    assert keys(s3, "dvc/nights/") == [], "a night leaves no parcel behind"


@pytest.mark.slow
def test_a_file_that_dvc_yaml_does_not_name_is_not_there(
    settings: Settings, checkout: ws.Workspace, options: dict[str, str], tmp_path: Path
) -> None:
    (checkout.folder / "artifacts" / "extra.json").write_text("1")
    with (
        pytest.raises(AirflowException, match="nothing that count made"),
        _storage.carried(settings, checkout.folder, "count") as night,
    ):
        pod = PodStep("count", night, options, tmp_path / "pod")
        assert pod.pull() == 0
        assert pod.run(["cat", "artifacts/extra.json"]) == 1
        assert "No such file" in pod.said["base"]
        assert pod.storage is not None and pod.storage.returncode == 0, "nothing was to be stored"


@pytest.mark.slow
def test_a_kill_before_the_pointer_leaves_nothing_to_believe(
    settings: Settings, checkout: ws.Workspace, options: dict[str, str], s3: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    asked: list[str] = []

    def kill_at_the_pointer(request: str) -> bytes | None:
        asked.append(request)
        if request.startswith("PUT") and request.endswith("made.tar.gz"):
            assert pod.storage is not None
            pod.storage.kill()
            return SLOW_DOWN
        return None

    with (
        pytest.raises(AirflowException, match="nothing that count made"),
        _storage.carried(settings, checkout.folder, "count") as night,
    ):
        pod = PodStep("count", night, options, tmp_path / "first")
        assert pod.pull() == 0
        with asking(kill_at_the_pointer):
            assert pod.run(argv_of(checkout, "count")) == 75
        assert "storage was killed" in pod.said["base"]
    assert not (checkout.folder / "artifacts" / "count.json").exists()
    assert not (checkout.folder / "dvc.lock").exists()
    objects = {request.rpartition("/files/")[2] for request in asked
               if request.startswith("PUT") and "/files/md5/" in request}  # fmt: skip
    assert len(objects) == 1, "the output went first"
    asked.clear()

    def listen(request: str) -> None:
        asked.append(request)

    with _storage.carried(settings, checkout.folder, "count") as night, asking(listen):
        pod = PodStep("count", night, options, tmp_path / "second")
        assert pod.pull() == 0
        assert pod.run(argv_of(checkout, "count")) == 0, pod.said
    again = [request for request in asked if request.startswith("PUT") and "/files/md5/" in request]
    assert again == [], "no object twice"
    assert json.loads((checkout.folder / "artifacts" / "count.json").read_text()) == {
        "first.jsonl": 2
    }


@pytest.mark.slow
def test_a_kill_of_storage_while_the_step_runs_is_no_verdict(
    settings: Settings, checkout: ws.Workspace, options: dict[str, str], tmp_path: Path
) -> None:
    night = _storage._send(Remote(options), checkout.folder, "count")
    pod = PodStep("count", night, options, tmp_path / "pod")
    assert pod.pull() == 0
    # As the kernel kills for lack of memory; the step ends well after that.
    (pod.folder / "waits").write_text("until [ -e killed ]; do sleep 0.1; done\n")

    def kill() -> None:
        while pod.storage is None or not opened(pod):
            sleep(0.1)
        pod.storage.kill()
        pod.storage.wait()
        (pod.folder / "killed").touch()

    killer = Thread(target=kill)
    killer.start()
    code = pod.run(["sh", "waits"])
    killer.join()
    assert code == 75, pod.said
    assert "storage was killed" in pod.said["base"]


def opened(pod: PodStep) -> bool:
    """Whether storage and the step have their pipes open, which each waits for."""
    assert pod.storage is not None
    links = Path(f"/proc/{pod.storage.pid}/fd")
    return {"ended", "pushed"} <= {os.path.basename(os.readlink(link)) for link in links.iterdir()}


def lose_objects(s3: dict[str, str]) -> None:
    for key in keys(s3, "dvc/files/"):
        client(s3).delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.slow
def test_what_pull_says_of_what_is_missing(
    settings: Settings, checkout: ws.Workspace, options: dict[str, str], s3: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """In that order: no parcel, an input nobody has made, an object that the remote has lost."""
    pod = PodStep("count", "no-such-night", options, tmp_path / "none")
    assert pod.pull() == 3
    assert "has nothing for count of no-such-night; clear the task" in pod.said["pull"]
    night = _storage._send(Remote(options), checkout.folder, "count")
    lose_objects(s3)
    pod = PodStep("count", night, options, tmp_path / "lost")
    assert pod.pull() == 3
    assert "lacks data that this step reads" in pod.said["pull"]
    night = _storage._send(Remote(options), checkout.folder, "ingest")
    lose_objects(s3)
    pod = PodStep("ingest", night, options, tmp_path / "ingest")
    assert pod.pull() == 3, "or it would begin a corpus anew"
    parcel = tmp_path / "parcel.tar.gz"
    stages = load_stages(checkout.folder / "dvc.yaml")
    pack(checkout.folder, contents(checkout.folder, "total", stages), parcel)
    Remote(options).put(parcel, f"{night}/total.sent.tar.gz")
    pod = PodStep("total", night, options, tmp_path / "unmade")
    assert pod.pull() == 3
    assert pod.said["pull"].startswith("total reads artifacts/count.json, which no stage of this")
    assert all(len(said.splitlines()) <= 2 for said in pod.said.values())


def test_an_outage_is_no_verdict(options: dict[str, str], tmp_path: Path) -> None:
    away = options | {"endpointurl": "http://127.0.0.1:9"}
    pod = PodStep("count", "night", away, tmp_path / "pod")
    assert pod.pull() == 75
    assert pod.said["pull"].startswith("DVC's remote s3://longtail/dvc could not be read")
    assert len(pod.said["pull"].splitlines()) == 1


def test_wrong_credentials_are_one_sentence(options: dict[str, str], tmp_path: Path) -> None:
    pod = PodStep("count", "night", options, tmp_path / "pod")
    (tmp_path / "file").write_text("1")
    with checking_credentials():
        assert pod.pull() == 2
        with pytest.raises(CredentialsError):
            Remote(options).put(tmp_path / "file", "night/a")
    assert pod.said["pull"].startswith("DVC's remote s3://longtail/dvc refuses the credentials")
    assert len(pod.said["pull"].splitlines()) == 1


def test_a_remote_that_is_busy_is_asked_again(options: dict[str, str], tmp_path: Path) -> None:
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_text("content")
    left = {"PUT": 2, "GET": 2}

    def busy(request: str) -> bytes | None:
        method = request.partition(" ")[0]
        if "nights" not in request or not left.get(method):
            return None
        left[method] -= 1
        return SLOW_DOWN

    remote = Remote(options)
    with asking(busy):
        remote.put(file, "night/a")
        remote.get("night/a", back)
    assert back.read_text() == "content"
    assert left == {"PUT": 0, "GET": 0}


def test_a_bucket_that_is_not_there(options: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    wrong = Remote(options | {"url": "s3://other/dvc"})
    with pytest.raises(WorkspaceError, match="no such bucket") as caught:
        wrong.put(tmp_path / "file", "night/a")
    assert not isinstance(caught.value, ToolError)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_wrong_clock_is_not_taken_for_wrong_credentials(
    method: str, options: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("1")
    remote = Remote(options)
    remote.put(tmp_path / "file", "night/a")
    with asking(lambda _: SKEWED, "403 Forbidden"), pytest.raises(ToolError, match="clock"):
        if method == "PUT":
            remote.put(tmp_path / "file", "night/a")
        else:
            remote.get("night/a", tmp_path / "back")


def test_a_night_s_name_is_whole_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    (folder / ".dvc" / "tmp").mkdir(parents=True)
    (folder / ".dvc" / "tmp" / "night").touch()
    assert _storage._name(folder).startswith("night-")


def test_parcels_that_cannot_be_deleted_do_not_undo_the_step(
    settings: Settings, checkout: ws.Workspace, options: dict[str, str], tmp_path: Path
) -> None:
    """All is here by then; Airflow would run it again, training included."""
    remote, archive = Remote(options), tmp_path / "a.tar.gz"
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "drift.json").write_text("1")
    pack(tmp_path, ["reports/drift.json"], archive, {"removed": [], "lock": None})
    remote.put(archive, "night/drift.made.tar.gz")
    aborted = b"<Error><Code>OperationAborted</Code><Message>Try again.</Message></Error>"
    asked: list[str] = []

    def answer(request: str) -> bytes | None:
        if request.startswith("GET") or request.startswith("HEAD"):
            return None
        asked.append(request)
        return aborted

    with asking(answer, "409 Conflict"):
        _storage._receive(remote, checkout.folder, "drift", "night")
    assert asked and (checkout.folder / "reports" / "drift.json").read_text() == "1"


def test_a_full_disk_is_no_verdict(options: dict[str, str], tmp_path: Path) -> None:
    """The parcel is small, and its content larger than the 32 KiB that a file may have."""
    (tmp_path / "large").write_bytes(bytes(2**20))
    archive = tmp_path / "a.tar.gz"
    pack(tmp_path, ["large"], archive)
    Remote(options).put(archive, "night/count.sent.tar.gz")
    pod = PodStep("count", "night", options, tmp_path / "pod")
    pod.folder.mkdir()
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh", *pod.argv("pull")]
    done = subprocess.run(limited, cwd=pod.folder, env=pod.env, capture_output=True, text=True)
    assert done.returncode == 75, done.stderr
    assert "could not be read or written" in done.stderr and "Traceback" not in done.stderr


def test_a_made_parcel_of_another_revision(
    settings: Settings, checkout: ws.Workspace, options: dict[str, str], tmp_path: Path
) -> None:
    """It has what the workspace already has, besides a note that says other things."""
    remote, archive = Remote(options), tmp_path / "a.tar.gz"
    pack(checkout.folder, ["params.yaml"], archive, {"removed": []})
    remote.put(archive, "night/count.made.tar.gz")
    with pytest.raises(WorkspaceError, match="of another revision"):
        _storage._receive(remote, checkout.folder, "count", "night")


def test_two_checkouts_of_one_name_have_two_names_in_the_remote(tmp_path: Path) -> None:
    names = set()
    for installation in ("one", "two"):
        folder = tmp_path / installation / "scheduled-2026"
        (folder / ".dvc" / "tmp").mkdir(parents=True)
        names |= {_storage._name(folder), _storage._name(folder)}
    assert len(names) == 2
    assert all(name.startswith("scheduled-2026-") for name in names)


def test_what_the_real_steps_read() -> None:
    """`thresholds` and `split` as dvc.yaml has them; `register` everything, `rollback` nothing."""
    assert reads("validate", STAGES) == ["data"]
    assert reads("split", STAGES) == ["artifacts/validate/corpus.parquet"]
    assert sorted(reads("thresholds", STAGES) or []) == [
        "artifacts/baseline/val", "artifacts/split/assignment.parquet",
        "artifacts/train/comparison", "artifacts/train/val", "reports/train/summary.json",
    ]  # fmt: skip
    assert reads("drift", STAGES) == ["data", "artifacts/validate/corpus.parquet"]
    assert reads("register", STAGES) is None
    assert reads("rollback", STAGES) == []


def pod_of(settings: Settings, step: Step) -> dict[str, Any]:
    operator = kubernetes_operator(settings, step, {"LONGTAIL_GIT_COMMIT": "abc"})
    operator.night = "night-1"
    return to_dict(operator.build_pod_request_obj(dry_run=True))


@pytest.fixture
def pods_settings(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project whose remote nobody asks; its credentials are in `config.local`."""
    (toy / ".dvc" / "config").write_text(
        "[core]\n    remote = storage\n['remote \"storage\"']\n    url = s3://b/dvc\n"
        "    region = eu-west-1\n"
    )
    (toy / ".dvc" / "config.local").write_text(
        "['remote \"storage\"']\n    secret_access_key = planted\n    profile = mine\n"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    return use(toy, tmp_path / "home", monkeypatch)


def test_the_pod_has_a_workspace_of_its_own(pods_settings: Settings) -> None:
    pod = pod_of(pods_settings, Step("total", ("python", "-m", "toy.total"), "train", "4G", 1))
    validate(pod)
    spec = pod["spec"]
    assert spec["volumes"] == [{"name": "workspace", "emptyDir": {}},
                               {"name": "state", "emptyDir": {}}]  # fmt: skip
    [pull], [base, storage] = spec["initContainers"], spec["containers"]
    assert base["command"] == ["sh", "-c", SCRIPT, "step"]
    assert base["args"] == ["python", "-m", "toy.total"]
    assert base["resources"]["limits"] == {"memory": "4G", "nvidia.com/gpu": "1"}
    assert [m["mountPath"] for m in base["volumeMounts"]] == [
        "/workspace", str(pods_settings.state),
    ]  # fmt: skip
    for container, function in ((pull, "pull"), (storage, "push")):
        assert container["command"][-2:] == [function, "total"]
        assert container["image"] == "localhost/longtail-airflow:latest"
        assert [m["mountPath"] for m in container["volumeMounts"]] == ["/workspace"]
        env = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert env["LONGTAIL_NIGHT"] == "night-1"
        remote = json.loads(env["LONGTAIL_REMOTE"] or "")
        assert remote == {"url": "s3://b/dvc", "region": "eu-west-1"}, "neither secret nor profile"
    assert "planted" not in json.dumps(pod)
    assert "persistentVolumeClaim" not in json.dumps(pod)


def test_one_step_may_keep_its_state_on_a_volume(
    pods_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/scaling.md has it."""
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    [example] = re.findall(r"```yaml\n(train:\n  spec:\n    volumes:.*?)```", page, re.S)
    (tmp_path / "pods.yaml").write_text(example.replace("train:", "total:"))
    monkeypatch.setenv("LONGTAIL_PODS", str(tmp_path / "pods.yaml"))
    pod = pod_of(pods_settings, Step("total", ("python",), "train"))
    validate(pod)
    assert pod["spec"]["volumes"] == [
        {"name": "workspace", "emptyDir": {}},
        {"name": "state", "persistentVolumeClaim": {"claimName": "features"}},
    ]


def test_every_step_s_pod_suits_the_published_schemas(
    pods_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = runpy.run_path(str(ROOT / "dags" / "nightly_retraining.py"))["dag"].tasks
    steps = [task for task in tasks if isinstance(task, PodOperator)]
    assert len(steps) == 8
    for step in steps:
        if not isinstance(step.arguments, list):
            step.arguments = ["python"]  # an earlier task's output
        validate(to_dict(step.build_pod_request_obj(dry_run=True)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LONGTAIL_STORAGE", "s3", "LONGTAIL_STORAGE is 's3'; expected volume or remote"),
        ("LONGTAIL_RUNNER", "docker", "LONGTAIL_RUNNER is docker; expected kubernetes"),
        ("MLFLOW_TRACKING_URI", "", "set MLFLOW_TRACKING_URI to the address of a server"),
        ("MLFLOW_TRACKING_URI", "sqlite:////x/m.db", "set MLFLOW_TRACKING_URI to the address"),
        ("LONGTAIL_POOL", "/pool", "LONGTAIL_POOL needs LONGTAIL_STORAGE=volume"),
    ],
)
def test_a_setting_that_does_not_suit_is_refused(
    name: str, value: str, said: str, pods_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        pod_of(load_settings(), Step("total", ("python",), "train"))


@pytest.mark.parametrize("url", ["", "/mnt/dvc", "gs://bucket/dvc"])
def test_a_remote_outside_s3_is_refused(url: str, pods_settings: Settings) -> None:
    text = f"[core]\n remote = storage\n['remote \"storage\"']\n url = {url}\n" if url else ""
    (pods_settings.repo / ".dvc" / "config").write_text(text)
    with pytest.raises(ValueError, match=f"is {url or 'not set'}; expected one in S3"):
        pod_of(pods_settings, Step("total", ("python",), "train"))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(75, AirflowException), (2, AirflowFailException), (3, AirflowFailException),
     (137, AirflowException)],
)  # fmt: skip
def test_a_pod_whose_workspace_was_not_filled(code: int, outcome: type[Exception]) -> None:
    status = fake.not_begun(code, "DVC's remote is away.")
    pod = to_pod({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status})
    with pytest.raises(AirflowException, match="DVC's remote is away") as caught:
        raise_for_pod(pod, "base")
    assert type(caught.value) is outcome


def test_the_gate_s_no_brings_its_files_back(
    settings: Settings, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(_storage, "_send", lambda *_: done.append("sent") or "night")
    monkeypatch.setattr(_storage, "_receive", lambda *_: done.append("received"))
    with pytest.raises(AirflowSkipException), _storage.carried(settings, project, "decide"):
        raise AirflowSkipException("refused")
    assert done == ["sent", "received"]
    with pytest.raises(AirflowFailException), _storage.carried(settings, project, "decide"):
        raise AirflowFailException("a bug")
    assert done == ["sent", "received", "sent"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "home").mkdir(exist_ok=True)
    served = Cluster(tmp_path / "home")
    with fake.serve(served, tmp_path / "kubeconfig"):
        yield served


@pytest.fixture
def nights(
    airflow_home: Path, project: Path, tmp_path: Path, cluster: Cluster, s3: dict[str, str]
) -> Nights:
    extra = s3 | {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "LONGTAIL_SECRET": "longtail",
        "LONGTAIL_STORAGE": "remote",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }
    cluster.secrets.update(extra)
    return Nights(airflow_home, project, cluster.home, "kubernetes", tuple(extra.items()))


@pytest.mark.slow
@pytest.mark.beyond_gate
def test_a_night_of_pods_without_a_volume(
    nights: Nights, cluster: Cluster, s3: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "more.jsonl").write_text("3\n4\n5\n")
    states, output = nights(FIRST, source=str(tmp_path / "more.jsonl"))
    skipped = {name for name, state in states.items() if state != "success"}
    assert skipped == {"approve"}, output[-3000:]
    # The stand-in for the registry, which the processes share as pods share a server.
    assert (nights.home / "state" / "champion").read_text() == "5"
    assert not any("persistentVolumeClaim" in json.dumps(pod) for pod in cluster.seen)
    assert len(cluster.seen) == 8 and cluster.pods == {}
    assert keys(s3, "dvc/nights/") == []
    assert "planted" not in output
    [folder] = (nights.home / "workspaces").iterdir()
    assert json.loads((folder / "reports" / "decision.json").read_text())["verdict"] == "promoted"


@pytest.mark.slow
@pytest.mark.beyond_gate
@pytest.mark.timeout(1800)
def test_the_real_steps_have_all_that_they_read(
    tmp_path: Path, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of a night in an empty folder of its own; the stages as `dvc repro` has them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    project = make_project(tmp_path / "project", (60,))
    settings = use(add_remote(project, options), tmp_path / "home", monkeypatch)
    for name, value in {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
                        "LONGTAIL_CACHE": str(tmp_path / "cache")}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    checkout = ws.prepare(project, settings.workspaces / "night", KEY)

    def step(name: str, argv: Sequence[str], expected: int = 0) -> None:
        end = pytest.raises(AirflowSkipException) if expected else nullcontext()
        with end, _storage.carried(settings, checkout.folder, name) as night:
            pod = PodStep(name, night, options, tmp_path / "pods" / name)
            assert pod.pull() == 0, pod.said
            assert pod.run(argv) == expected, pod.said
            if expected:
                raise AirflowSkipException("The gate was not passed.")

    argv = ingest_command(str(tmp_path / "in1"), checkout, update=False)
    step("ingest", argv or [])
    for stage in STAGES if ws.stale_stages(checkout, STAGES, False, None) else []:
        step(stage.name, stage.command)
    assert_same(checkout.folder, reproduce(project, tmp_path / "reference", tmp_path / "in1"))
    ws.record(checkout)
    for name in ("register", "decide", "apply", "drift"):
        step(name, COMMANDS[name][0])
    reports = checkout.folder / "reports"
    found = {name: json.loads((reports / f"{name}.json").read_text())
             for name in ("registered", "decision", "outcome", "drift")}  # fmt: skip
    assert found["registered"]["version"] == "1"
    assert found["decision"]["verdict"] == found["outcome"]["outcome"] == "promoted"
    assert found["drift"]["champion"] == "1"
    assert set(read_usage(reports / "usage")) == {stage.name for stage in STAGES}
