"""Runs the Kubeflow pipeline on this machine: `python -m dags._kubeflow_local WORKSPACE`.

It uses kfp's Docker runner with any Docker API socket (`DOCKER_HOST`), with one fix: kfp removes
a container before asking for its status, and so takes a failure for a success.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from docker.types import Mount
from kfp import local
from kfp.local import docker_task_handler

from components._frame.pipeline import load_stages
from dags._containers import API_SECONDS, MOUNT, container_user, hand_over, network
from dags._tools import FOLDERS
from dags.kubeflow_pipeline import build


def run_container(
    client: Any, image: str, command: list[str], volumes: Any, **settings: Any
) -> int:
    """Run a container and return its exit status, asked for before the container is removed."""
    client.api.timeout = API_SECONDS
    container = client.containers.run(
        image=image, command=command, detach=True, volumes=volumes, **settings
    )
    try:
        for line in container.logs(stream=True, follow=True):
            print(line.decode(errors="replace"), end="")
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def run(workspace: Path) -> None:
    """Run every stage in `workspace`.

    Raises:
        RuntimeError: A stage failed; the message names it.
    """
    docker_task_handler.run_docker_container = run_container
    for name in FOLDERS:
        (workspace / name).mkdir(exist_ok=True)
    hand_over([workspace / name for name in FOLDERS])
    local.init(
        runner=local.DockerRunner(
            mounts=[Mount(target=MOUNT, source=str(workspace), type="bind")],
            user=container_user(),
            working_dir=MOUNT,
            network_mode=network(),
        ),
        pipeline_root=str(workspace / "build" / "kubeflow"),
    )
    pointer = yaml.safe_load((workspace / "data.dvc").read_text(encoding="utf-8"))
    revision = os.environ.get("LONGTAIL_GIT_COMMIT", "none")
    build(load_stages(workspace / "dvc.yaml"))(
        data_hash=pointer["outs"][0]["md5"], revision=revision
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
