"""The same stages as a Kubeflow pipeline: `python -m dags.kubeflow_pipeline pipeline.yaml`.

Every stage works in the workspace on the volume claim `longtail`, where whoever starts the run has
checked out code and data. Kubeflow's cache looks only at a task's inputs, so each stage gets the
hash of the data and the revision of the code as inputs: without them, the cache would return
yesterday's result. (No postponed annotations here, since kfp reads them.)
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes

from components._frame.pipeline import Stage, load_stages
from dags import _containers

ROOT = Path(__file__).parents[1]
IMAGES = os.environ.get("LONGTAIL_IMAGES", _containers.IMAGES)


def component(stage: Stage) -> Callable[..., Any]:
    """The container component of one stage, its arguments straight from dvc.yaml."""

    def container(data_hash: str, revision: str):
        return dsl.ContainerSpec(
            image=IMAGES.format(target=stage.image),
            command=list(stage.command[:1]),
            args=list(stage.command[1:]),
        )

    container.__name__, container.__doc__ = stage.name, stage.desc
    return dsl.container_component(container)


def build(stages: list[Stage]) -> Callable[..., Any]:
    """The pipeline: one task per stage, after the stages whose files it reads."""

    @dsl.pipeline(name="longtail", description="Retraining, from the table of stages in dvc.yaml.")
    def longtail(data_hash: str, revision: str):
        tasks: dict[str, Any] = {}
        for stage in stages:
            task = component(stage)(data_hash=data_hash, revision=revision)
            task.set_display_name(stage.name).after(*(tasks[name] for name in stage.upstream))
            kubernetes.mount_pvc(task, pvc_name=_containers.CLAIM, mount_path=_containers.MOUNT)
            if "memory" in stage.meta:
                task.set_memory_limit(stage.meta["memory"])
            if stage.gpu:
                task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
            tasks[stage.name] = task

    return longtail


if __name__ == "__main__":
    compiler.Compiler().compile(build(load_stages(ROOT / "dvc.yaml")), sys.argv[1])
    print(f"{sys.argv[1]}: compiled.")
