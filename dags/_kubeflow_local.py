"""Runs the Kubeflow pipeline on this machine: `python -m dags._kubeflow_local WORKSPACE`.

It uses kfp's Docker runner against any Docker-API socket (`DOCKER_HOST`), with one repair: kfp
removes a container before it has asked for its status, and then takes a failure for a success.
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
from dags._workspace import FOLDERS, container_user, hand_over
from dags.kubeflow_pipeline import WORKSPACE, build


def run_and_tell(client: Any, image: str, command: list[str], volumes: Any, **settings: Any) -> int:
    """Exit status of a container that is removed only after it has been asked."""
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
    """Run every stage in `workspace`. Raises RuntimeError naming the stage that failed."""
    docker_task_handler.run_docker_container = run_and_tell
    for name in FOLDERS:
        (workspace / name).mkdir(exist_ok=True)
    hand_over([workspace / name for name in FOLDERS])
    local.init(
        runner=local.DockerRunner(
            mounts=[Mount(target=WORKSPACE, source=str(workspace), type="bind")],
            user=container_user(),
            working_dir=WORKSPACE,
            network_mode=os.environ.get("LONGTAIL_NETWORK", "bridge"),
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
