"""What can go wrong around a container: the image, the socket, a mount, memory, an exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from docker.types import Mount

from dags._docker import ContainerOperator, docker_operator
from dags._settings import load_settings
from dags._steps import Step
from dags._tools import FOLDERS
from scripts import podman

pytestmark = pytest.mark.containers
MISSING = "localhost/longtail-none:latest"
HUNGRY = "held = [bytearray(50_000_000) for _ in range(40)]"


@dataclass
class Runner:
    """Runs programs in the `data` image, over a workspace, as the DAG would."""

    workspace: Path

    def operator(self, program: str, **resources: Any) -> ContainerOperator:
        step = Step("step", ("python", "-c", program), "data", **resources)
        operator = docker_operator(load_settings(), step, {})
        workspace = Mount(source=str(self.workspace), target="/workspace", type="bind")
        operator.mounts = [workspace, *operator.mounts[1:]]
        return operator

    def error(self, program: str = "", **resources: Any) -> AirflowException:
        with pytest.raises(AirflowException) as caught:
            self.operator(program, **resources).execute({})
        assert podman.podman("ps", "--all", "--quiet") == ""
        return caught.value


@pytest.fixture
def runner(socket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    workspace = tmp_path / "workspace"
    for name in FOLDERS:
        (workspace / name).mkdir(parents=True)
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LONGTAIL_NETWORK", "host")
    monkeypatch.setenv("DOCKER_HOST", socket)
    return Runner(workspace)


def test_a_step_writes_as_the_user_of_the_image(runner: Runner) -> None:
    program = "import os; open('artifacts/who', 'w').write(f'{os.getuid()} {os.getcwd()}')"
    runner.operator(program).execute({})
    assert (runner.workspace / "artifacts" / "who").read_text() == "10001 /workspace"
    assert podman.podman("ps", "--all", "--quiet") == ""


def test_an_unknown_image_is_one_sentence(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_IMAGES", MISSING)
    found = runner.error()
    assert type(found) is AirflowFailException
    assert str(found) == f"Image {MISSING} does not exist on this Docker host; run `make images`."


def test_a_missing_socket_is_one_sentence(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    found = str(runner.error())
    assert found.startswith("No Docker host answers at unix:///nowhere/docker.sock; start one")
    assert "\n" not in found


def test_a_missing_volume_is_one_sentence(runner: Runner, tmp_path: Path) -> None:
    operator = runner.operator("")
    runner.workspace.rename(tmp_path / "gone")
    with pytest.raises(AirflowFailException) as caught:
        operator.execute({})
    found = str(caught.value)
    assert found == f"Workspace {runner.workspace} does not exist on this machine; mount it."


def test_a_step_killed_for_memory_is_retried_and_says_so(runner: Runner) -> None:
    found = runner.error(HUNGRY, memory="128M")
    assert type(found) is AirflowException
    assert "Killed from outside (exit code 137), usually for lack of memory" in str(found)


@pytest.mark.parametrize(("code", "kind"), [(3, AirflowFailException), (75, AirflowException)])
def test_an_exit_code_means_the_same_as_in_a_process(
    runner: Runner, code: int, kind: type[Exception]
) -> None:
    found = runner.error(f"import sys; print('the finding', flush=True); sys.exit({code})")
    assert type(found) is kind and "the finding" in str(found)
