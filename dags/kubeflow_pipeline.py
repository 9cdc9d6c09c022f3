"""The night as a Kubeflow pipeline: `python -m dags.kubeflow_pipeline pipeline.yaml`.

It has the steps of the Airflow DAG. Every step sees the volume claim `longtail`: the repository in
`repo`, one workspace per run in `workspaces`, and `state`. Kubeflow's own cache is off, since it
looks only at a step's inputs; what is out of date, DVC knows. With `--schedule CRON` the compiled
pipeline becomes a recurring run. (No postponed annotations here, since kfp reads them.)
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import Client, compiler, dsl, kubernetes

from components._frame.pipeline import Stage, load_stages
from dags import _containers
from dags._commands import COMMANDS, CORPUS
from dags._environment import is_secret, passed_on
from dags._pool import QUEUE_TIME
from dags._settings import Settings, load_settings

NAME, HOME = "longtail", "/longtail"
IMAGES = os.environ.get("LONGTAIL_IMAGES", _containers.IMAGES)
SCRIPT = (Path(__file__).parent / "kubeflow_step.sh").read_text(encoding="utf-8")
SECRET = os.environ.get("LONGTAIL_SECRET", "longtail")
# An Airflow connection, in any form that Airflow takes; in the same Kubernetes secret as the rest.
WEBHOOK = "AIRFLOW_CONN_LONGTAIL_WEBHOOK"
RETRIES = int(os.environ.get("LONGTAIL_RETRIES", "3"))
SECONDS = int(os.environ.get("LONGTAIL_RETRY_SECONDS", "120"))  # before the first retry
MINUTES = 30
# What a recurring run that is late does not make up for: the next one takes what has arrived.
ONE_AT_A_TIME = {"max_concurrency": 1, "no_catchup": True}


def step(name: str, argv: tuple[str, ...], image: str) -> Callable[..., Any]:
    """A step in its run's workspace, if the night has it to do."""

    def container(run: str, task: str):
        words = [SCRIPT, "step", f"{HOME}/workspaces/{run}", name, task, *argv]
        return dsl.ContainerSpec(
            image=IMAGES.format(target=image), command=["sh", "-c"], args=words
        )

    container.__name__ = name
    return dsl.container_component(container)


def _own(name: str, run: str, *options: Any) -> Any:  # while compiling, all are placeholders
    argv = ["python", "-m", "dags._kubeflow_steps", name, run, *options]
    return dsl.ContainerSpec(image=IMAGES.format(target="airflow"), command=argv[:3], args=argv[3:])


@dsl.container_component
def workspace(run: str, source: str, update: bool, revision: str, encoder: str, approval: str):
    return _own("workspace", run, "--source", source, "--update", update, "--revision", revision,
                "--encoder", encoder, "--approval", approval)  # fmt: skip


@dsl.container_component
def plan(run: str, force: bool):
    return _own("plan", run, "--force", force)


@dsl.container_component
def record(run: str):
    return _own("record", run)


@dsl.container_component
def pool(run: str, address: str, size: int):
    return _own("pool", run, "--pool", address, "--size", size)


@dsl.container_component
def notify(status: dsl.PipelineTaskFinalStatus, run: str):
    return _own("notify", run)


def settle(task: Any, minutes: float = MINUTES) -> Any:
    """Give a task its volume, environment, time limit, and retries."""
    claim = os.environ.get("LONGTAIL_VOLUME_CLAIM", _containers.CLAIM)
    kubernetes.mount_pvc(task, pvc_name=claim, mount_path=HOME)
    kubernetes.set_timeout(task, int(60 * minutes))
    places = {"LONGTAIL_HOME": HOME, "LONGTAIL_REPO": f"{HOME}/repo"}
    for name, value in sorted((passed_on() | places).items()):
        if is_secret(name, value):
            kubernetes.use_secret_as_env(task, SECRET, {name: name})
        else:
            task.set_env_variable(name, value)
    task.set_env_variable("LONGTAIL_IMAGE_DIGEST", task.container_spec.image)
    return task.set_caching_options(False).set_retry(RETRIES, f"{SECONDS}s", 2.0, "30m")


def build(stages: list[Stage], settings: Settings) -> Callable[..., Any]:
    """The pipeline: the night's steps, each after those whose files it reads."""

    @dsl.pipeline(name=NAME, description="Nightly retraining, from the stages in dvc.yaml.")
    def longtail(
        source: str = "",
        update: bool = False,
        force: bool = False,
        revision: str = "",
        encoder: str = "",
        approval: str = "",
    ):
        ids = {"run": dsl.PIPELINE_JOB_ID_PLACEHOLDER, "task": dsl.PIPELINE_TASK_ID_PLACEHOLDER}
        run = ids["run"]
        told = settle(notify(run=run))
        kubernetes.use_secret_as_env(told, SECRET, {WEBHOOK: WEBHOOK}, optional=True)
        with dsl.ExitHandler(told, name="night"):
            start = workspace(run=run, source=source, update=update, revision=revision,
                              encoder=encoder, approval=approval)  # fmt: skip
            ingest = settle(step("ingest", (), "data")(**ids).after(settle(start)))
            planned = settle(plan(run=run, force=force).after(ingest))
            tasks: dict[str, Any] = {}
            for stage in stages:
                task = settle(step(stage.name, stage.command, stage.image)(**ids), stage.minutes)
                task.after(planned, *(tasks[name] for name in stage.upstream))
                if "memory" in stage.meta:
                    task.set_memory_limit(stage.meta["memory"])
                if stage.gpus:
                    task.set_accelerator_type("nvidia.com/gpu")
                    task.set_accelerator_limit(stage.gpus)
                tasks[stage.name] = task
            last = settle(record(run=run).after(*tasks.values()))
            for name, (argv, image) in COMMANDS.items():
                task = settle(step(name, argv, image)(**ids))
                if name == "drift":
                    task.after(planned, *(tasks[s.name] for s in stages if CORPUS in s.outs))
                else:
                    last = task.after(last)
            if settings.pool:
                copied = settle(
                    pool(run=run, address=settings.pool, size=settings.queue_size).after(last)
                )
                minutes = QUEUE_TIME.total_seconds() / 60
                settle(step("queue", (), "train")(**ids), minutes).after(copied)

    return longtail


def main() -> None:
    """Compile the pipeline and, if asked to, have Kubeflow run it again and again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--schedule", metavar="CRON", help='such as "0 0 2 * * *" (seconds first)')
    parser.add_argument("--host", help="Kubeflow Pipelines' API; default: as kfp finds it")
    parser.add_argument("--experiment", default=NAME)
    parser.add_argument("--source", default="", help="folder on the volume with new files")
    given = parser.parse_args()
    settings = load_settings()
    pipeline = build(load_stages(settings.repo / "dvc.yaml"), settings)
    compiler.Compiler().compile(pipeline, str(given.file))
    print(f"{given.file}: compiled.")
    if given.schedule:
        client = Client(host=given.host)
        experiment = client.create_experiment(given.experiment)
        made = client.create_recurring_run(
            experiment.experiment_id, f"{NAME} nightly", cron_expression=given.schedule,
            pipeline_package_path=str(given.file), params={"source": given.source},
            enable_caching=False, **ONE_AT_A_TIME,
        )  # fmt: skip
        print(f"Recurring run {made.recurring_run_id} in {given.experiment}: {given.schedule}.")


if __name__ == "__main__":
    main()
