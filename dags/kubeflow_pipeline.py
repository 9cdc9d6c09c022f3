"""The same stages as a Kubeflow pipeline: `python -m dags.kubeflow_pipeline pipeline.yaml`.

Every stage works in the workspace that the volume claim `longtail` holds (code and data checked
out there by whoever starts the run). Kubeflow's cache knows only a task's inputs, so each stage is
told the hash of the data and the revision of the code: without them the cache would answer with
yesterday's result. (No postponed annotations here: kfp reads them.)
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes

from components._frame.pipeline import Stage, load_stages

ROOT = Path(__file__).parents[1]
IMAGES = os.environ.get("LONGTAIL_IMAGES", "localhost/longtail-{target}:latest")
CLAIM, WORKSPACE = "longtail", "/workspace"


def component(stage: Stage) -> Callable[..., Any]:
    """The container component of one stage, its argument list straight from dvc.yaml."""

    def box(data_hash: str, revision: str):
        return dsl.ContainerSpec(
            image=IMAGES.format(target=stage.image),
            command=list(stage.argv[:1]),
            args=list(stage.argv[1:]),
        )

    box.__name__, box.__doc__ = stage.name, stage.desc
    return dsl.container_component(box)


def build(stages: list[Stage]) -> Callable[..., Any]:
    """The pipeline: one task per stage, after the stages whose files it reads."""

    @dsl.pipeline(name="longtail", description="Retraining, from the table of stages in dvc.yaml.")
    def longtail(data_hash: str, revision: str):
        tasks: dict[str, Any] = {}
        for stage in stages:
            task = component(stage)(data_hash=data_hash, revision=revision)
            task.set_display_name(stage.name).after(*(tasks[name] for name in stage.upstream))
            kubernetes.mount_pvc(task, pvc_name=CLAIM, mount_path=WORKSPACE)
            if "memory" in stage.meta:
                task.set_memory_limit(stage.meta["memory"])
            if stage.meta.get("gpu"):
                task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
            tasks[stage.name] = task

    return longtail


if __name__ == "__main__":
    compiler.Compiler().compile(build(load_stages(ROOT / "dvc.yaml")), sys.argv[1])
    print(f"{sys.argv[1]}: compiled.")
