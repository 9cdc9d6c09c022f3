"""Runs a night of the Kubeflow pipeline on this machine: `python -m dags._kubeflow_local HOME`.

HOME is what the volume claim holds in a cluster: the repository in `repo`, and room for
`workspaces` and `state`. It uses kfp's Docker runner with any Docker API socket (`DOCKER_HOST`),
with one fix: kfp removes a container before asking for its status, and so takes a failure for a
success.
"""

import sys
from pathlib import Path
from typing import Any

from docker.types import Mount
from kfp import local
from kfp.local import docker_task_handler

from components._frame.pipeline import load_stages
from dags._containers import API_SECONDS, container_user, hand_over, network
from dags._settings import load_settings
from dags.kubeflow_pipeline import HOME, build


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


def run(home: Path, **arguments: Any) -> None:
    """Run a night.

    Args:
        home: Folder of the repository and of the workspaces.
        **arguments: Those of the pipeline.

    Raises:
        RuntimeError: A step failed; the message names it.
    """
    docker_task_handler.run_docker_container = run_container
    hand_over([home])
    local.init(
        runner=local.DockerRunner(
            mounts=[Mount(target=HOME, source=str(home), type="bind")],
            user=container_user(),
            network_mode=network(),
        ),
        pipeline_root=str(home / "kubeflow"),
    )
    build(load_stages(home / "repo" / "dvc.yaml"), load_settings())(**arguments)


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[2:])
    switches: dict[str, Any] = {"true": True, "false": False}
    run(Path(sys.argv[1]).resolve(), **{k: switches.get(v, v) for k, v in given.items()})
