"""What goes wrong around a container: the image, the socket, a mount, memory, an order to stop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from docker.types import Mount

from dags._docker import ContainerOperator, docker_operator
from dags._runners import Step
from dags._settings import load_settings
from dags._workspace import FOLDERS
from scripts import podman

pytestmark = pytest.mark.containers
NONE = "localhost/longtail-none:latest"
HUNGRY = "held = [bytearray(50_000_000) for _ in range(40)]"


@dataclass
class Box:
    """Runs programs in the `data` image, over a workspace, as the DAG would."""

    workspace: Path
    home: Path

    def operator(self, program: str, **needs: Any) -> ContainerOperator:
        step = Step("step", ("python", "-c", program), "data", **needs)
        made = docker_operator(load_settings(), step, {})
        source = {"source": str(self.workspace), "target": "/workspace", "type": "bind"}
        made.mounts = [Mount(**source), *made.mounts[1:]]
        return made

    def fault(self, program: str = "", **needs: Any) -> AirflowException:
        with pytest.raises(AirflowException) as caught:
            self.operator(program, **needs).execute({})
        assert podman.podman("ps", "--all", "--quiet") == ""
        return caught.value


@pytest.fixture
def box(socket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    workspace = tmp_path / "workspace"
    for name in FOLDERS:
        (workspace / name).mkdir(parents=True)
    monkeypatch.setenv("LONGTAIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LONGTAIL_NETWORK", "host")
    monkeypatch.setenv("DOCKER_HOST", socket)
    return Box(workspace, tmp_path / "home")


def test_a_step_writes_as_nobody_in_particular(box: Box) -> None:
    program = "import os; open('artifacts/who', 'w').write(f'{os.getuid()} {os.getcwd()}')"
    box.operator(program).execute({})
    assert (box.workspace / "artifacts" / "who").read_text() == "10001 /workspace"
    assert podman.podman("ps", "--all", "--quiet") == ""


def test_an_unknown_image_is_one_sentence(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTAIL_IMAGES", NONE)
    found = box.fault()
    assert type(found) is AirflowFailException
    assert str(found) == f"There is no image {NONE} on this Docker host; run `make images`."


def test_a_missing_socket_is_one_sentence(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    found = str(box.fault())
    assert found.startswith("No Docker host answers at unix:///nowhere/docker.sock: start it")
    assert "\n" not in found


def test_a_missing_volume_is_one_sentence(box: Box, tmp_path: Path) -> None:
    made = box.operator("")
    box.workspace.rename(tmp_path / "gone")
    with pytest.raises(AirflowFailException) as caught:
        made.execute({})
    assert str(caught.value) == f"The workspace {box.workspace} is not on this machine; mount it."


def test_a_step_killed_for_memory_is_tried_again_and_says_so(box: Box) -> None:
    found = box.fault(HUNGRY, memory="128M")
    assert type(found) is AirflowException
    assert "Killed from outside (exit code 137), mostly for want of memory" in str(found)


@pytest.mark.parametrize(("code", "kind"), [(3, AirflowFailException), (75, AirflowException)])
def test_an_exit_code_means_the_same_as_in_a_process(
    box: Box, code: int, kind: type[Exception]
) -> None:
    found = box.fault(f"import sys; print('the finding', flush=True); sys.exit({code})")
    assert type(found) is kind and "the finding" in str(found)
