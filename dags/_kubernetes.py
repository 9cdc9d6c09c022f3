"""Runs a step as a pod; its workspace is a subfolder of one shared volume, or the pod's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.log import redact
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from dags import _xcom
from dags._containers import CLAIM, MOUNT, USER
from dags._environment import is_secret, private_environment
from dags._pod_storage import PodStorage
from dags._pods import IMAGES, load_pods, merge_pod, raise_for_api, raise_for_pod
from dags._settings import Settings
from dags._steps import Step, mask_secrets, step_names
from dags._storage import check

# The image that has DVC.
KEEPER = "airflow"


class PodOperator(KubernetesPodOperator):
    """KubernetesPodOperator whose exit codes mean what they mean with every runner.

    With `storage`, the pod's workspace is its own, and files travel through DVC's remote.
    """

    template_fields = (*KubernetesPodOperator.template_fields, "workspace")

    def __init__(
        self,
        *,
        step: str,
        pods: dict[str, Any],
        workspace: str = "",
        storage: PodStorage | None = None,
        **kwargs: Any,
    ) -> None:
        self.step, self.pods, self.workspace, self.storage = step, pods, workspace, storage
        self.night = ""
        super().__init__(**kwargs)

    def build_pod_request_obj(self, *args: Any, **kwargs: Any) -> k8s.V1Pod:
        pod = super().build_pod_request_obj(*args, **kwargs)
        if self.storage:
            self.storage.add_containers(pod, self.step, self.base_container_name, self.night)
        return merge_pod(pod, self.pods, self.step)

    def execute(self, context: Any) -> None:
        mask_secrets()
        try:
            if not self.storage:
                super().execute(context)
                return
            with self.storage.carried(Path(self.workspace), self.step) as self.night:
                super().execute(context)
        except ApiException as error:
            raise_for_api(error)

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Any = None
    ) -> None:
        """Delete the pod, then say why it failed; Airflow's own message is its specification."""
        if self._killed or not remote_pod:
            return
        with suppress(ApiException):  # gone: what was last seen of it has to do
            remote_pod = self.pod_manager.read_pod(remote_pod)
        for status in remote_pod.status.container_statuses or []:
            self.log.info("Container %s ran %s", status.name, status.image_id or status.image)
        with suppress(AirflowException):
            super().cleanup(pod, remote_pod, xcom_result, context)
        raise_for_pod(remote_pod, self.base_container_name)


def log_line(container: str, line: str) -> str:
    return f"[{container}] {redact(line)}"


def environment(
    settings: Settings, env: Mapping[str, str], image: str
) -> tuple[list[k8s.V1EnvVar], list[k8s.V1EnvFromSource]]:
    """The step's variables; a secret is a reference, since Airflow and the cluster show pods.

    Raises:
        ValueError: There is a secret, and no Kubernetes secret to take it from.
    """
    secret = os.environ.get("LONGTAIL_SECRET")
    passed = private_environment(settings) | dict(env)
    passed["LONGTAIL_IMAGE_DIGEST"] = image.partition("@")[2] or image
    hidden = sorted(name for name, value in passed.items() if is_secret(name, value))
    if hidden and not secret:
        keys = " ".join(f'--from-literal={name}="${name}"' for name in hidden)
        raise ValueError(
            f"{', '.join(hidden)} would be readable in every pod's specification; expected in a "
            f"Kubernetes secret: `kubectl create secret generic longtail {keys}`, then set "
            "LONGTAIL_SECRET=longtail."
        )
    plain = [k8s.V1EnvVar(name, value) for name, value in passed.items() if name not in hidden]
    references = [
        k8s.V1EnvVar(name, value_from=k8s.V1EnvVarSource(
            secret_key_ref=k8s.V1SecretKeySelector(name=secret, key=name)))
        for name in hidden
    ]  # fmt: skip
    source = k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=secret))
    return plain + references, [source] if secret else []


def volumes(settings: Settings) -> tuple[list[k8s.V1Volume], list[k8s.V1VolumeMount]]:
    """The shared volume, of which a step sees its run's workspace and the state."""
    claim = k8s.V1PersistentVolumeClaimVolumeSource(
        claim_name=os.environ.get("LONGTAIL_VOLUME_CLAIM", CLAIM)
    )
    folders = {
        MOUNT: f"{settings.workspaces.name}/{_xcom.FOLDER_NAME}",
        str(settings.state): settings.state.name,
    }
    mounts = [
        k8s.V1VolumeMount(name="longtail", mount_path=path, sub_path=folder)
        for path, folder in folders.items()
    ]
    return [k8s.V1Volume(name="longtail", persistent_volume_claim=claim)], mounts


def resources(step: Step) -> k8s.V1ResourceRequirements:
    limits = {"memory": step.memory} if step.memory else {}
    if step.gpus:
        limits["nvidia.com/gpu"] = str(step.gpus)
    return k8s.V1ResourceRequirements(limits=limits, requests=limits)


def kubernetes_operator(
    settings: Settings, step: Step, env: Mapping[str, str], **kwargs: Any
) -> PodOperator:
    """The pod of one step; Airflow mounts the same volume at `LONGTAIL_HOME`, if there is one."""
    file = os.environ.get("LONGTAIL_PODS")
    pods = load_pods(file, step_names(settings.repo)) if file else {}
    image = pods.get(IMAGES, {}).get(step.image) or settings.image(step.image)
    env_vars, env_from = environment(settings, env, image)
    storage, command = None, {"cmds": step.arguments}
    if settings.storage == "remote":
        keeper = pods.get(IMAGES, {}).get(KEEPER) or settings.image(KEEPER)
        storage = PodStorage(settings, keeper, check(settings))
        command = storage.command(step.arguments)
    shared, mounts = storage.volumes() if storage else volumes(settings)
    start = int(os.environ.get("LONGTAIL_POD_START_SECONDS", "1800"))
    operator = PodOperator(
        task_id=step.task_id,
        step=step.task_id,
        pods=pods,
        workspace=_xcom.PATH,
        storage=storage,
        name=f"longtail-{step.task_id}",
        namespace=os.environ.get("LONGTAIL_NAMESPACE", "longtail"),
        image=image,
        **command,
        env_vars=env_vars,
        env_from=env_from,
        volumes=shared,
        volume_mounts=mounts,
        container_resources=resources(step),
        security_context=k8s.V1PodSecurityContext(
            run_as_non_root=True, run_as_user=USER, fs_group=USER
        ),
        startup_timeout_seconds=start,
        # The kubelet puts a failed container's last lines into the pod's status.
        termination_message_policy="FallbackToLogsOnError",
        log_formatter=log_line,
        on_finish_action="delete_pod",
        do_xcom_push=False,
        **kwargs,
    )
    if operator.execution_timeout:
        # A step has its time to itself, not to wait for a node and the image.
        operator.execution_timeout += timedelta(seconds=2 * start)
    return operator
