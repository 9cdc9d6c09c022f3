"""Runs a step in a container through any Docker API socket (Docker, Podman)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.docker.exceptions import DockerContainerFailedException
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from docker.errors import APIError, DockerException, ImageNotFound
from docker.types import DeviceRequest, Mount

from dags import _xcom
from dags._containers import API_SECONDS, MOUNT, container_user, hand_over, network
from dags._environment import private_environment
from dags._settings import Settings
from dags._steps import Step, mask_secrets, raise_for_exit_code
from dags._tools import FOLDERS


class ContainerOperator(DockerOperator):
    """DockerOperator whose exit codes mean what they mean with every runner."""

    def __init__(self, *, state: Path, **kwargs: Any) -> None:
        self.state = state
        super().__init__(**kwargs)

    def execute(self, context: Any) -> None:
        mask_secrets()
        self._normalize_mounts()
        workspace = Path(next(m["Source"] for m in self.mounts if m["Target"] == MOUNT))
        if not workspace.is_dir():
            raise AirflowFailException(
                f"Workspace {workspace} does not exist on this machine; mount it."
            )
        self.state.mkdir(parents=True, exist_ok=True)
        self.container = None  # type: ignore[assignment]
        try:
            if not self.cli.images(name=self.image):
                raise ImageNotFound(self.image)
            self.environment["LONGTAIL_IMAGE_DIGEST"] = self.cli.inspect_image(self.image)["Id"]
            hand_over([*(workspace / name for name in FOLDERS), self.state])
            super().execute(context)
        except DockerContainerFailedException as error:
            state = self.cli.inspect_container(self.container["Id"])["State"]
            raise_for_exit_code(state["ExitCode"], [str(line) for line in error.logs or ()][-5:])
        except (DockerException, AirflowException) as error:
            raise AirflowFailException(explain(error, str(self.image), self.docker_url)) from None
        finally:
            if self.container:
                self.cli.remove_container(self.container["Id"], force=True)


def explain(error: Exception, image: str, socket: Any) -> str:
    """One sentence that says what is wrong with the image, the socket, or a mount."""
    if isinstance(error, ImageNotFound):
        return f"Image {image} does not exist on this Docker host; run `make images`."
    if isinstance(error, APIError):
        return f"The Docker host refused to run {image}: {error.explanation or error}."
    return f"No Docker host answers at {socket}; start one or fix DOCKER_HOST ({error})."


def docker_operator(
    settings: Settings, step: Step, env: Mapping[str, str], **kwargs: Any
) -> ContainerOperator:
    """The container of one step; the workspace is at `MOUNT`, the state at its own path."""
    return ContainerOperator(
        task_id=step.task_id,
        image=settings.image(step.image),
        command=step.arguments,
        environment=dict(env),
        private_environment=private_environment(settings),
        docker_url=os.environ.get("DOCKER_HOST", "unix://var/run/docker.sock"),
        user=container_user(),
        working_dir=MOUNT,
        mounts=[
            Mount(source=_xcom.PATH, target=MOUNT, type="bind"),
            Mount(source=str(settings.state), target=str(settings.state), type="bind"),
        ],
        state=settings.state,
        mount_tmp_dir=False,
        network_mode=network(),
        mem_limit=step.memory,
        device_requests=[DeviceRequest(count=step.gpus, capabilities=[["gpu"]])]
        if step.gpus
        else None,
        timeout=API_SECONDS,
        auto_remove="never",
        do_xcom_push=False,
        **kwargs,
    )
