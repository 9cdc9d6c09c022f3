"""Runs a step as a pod; workspaces and state are subfolders of one shared volume."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s

from dags import _xcom
from dags._containers import CLAIM, MOUNT, USER
from dags._settings import Settings
from dags._steps import Step, private_environment, raise_for_exit_code


class ExitCodes(Container[int]):
    """The operator's `skip_on_exit_code`, the only place where it reveals the exit code."""

    def __contains__(self, code: object) -> bool:
        if isinstance(code, int):
            raise_for_exit_code(code)
        return False


def kubernetes_operator(
    settings: Settings, step: Step, env: Mapping[str, str], **kwargs: Any
) -> KubernetesPodOperator:
    """The pod of one step; Airflow mounts the same volume at `LONGTAIL_HOME`."""
    secret = os.environ.get("LONGTAIL_SECRET")
    # Airflow shows a pod's specification, so secrets come from the Kubernetes secret instead.
    passed = private_environment(settings)
    public = {k: v for k, v in passed.items() if not re.search("SECRET|TOKEN|PASSWORD|KEY", k)}
    limits = {"memory": step.memory} if step.memory else {}
    if step.gpu:
        limits["nvidia.com/gpu"] = "1"
    return KubernetesPodOperator(
        task_id=step.task_id,
        name=f"longtail-{step.task_id}",
        namespace=os.environ.get("LONGTAIL_NAMESPACE", "longtail"),
        image=settings.image(step.image),
        cmds=step.arguments,
        env_vars=public | dict(env),
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=secret))]
        if secret
        else None,
        volumes=[
            k8s.V1Volume(
                name="longtail",
                persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(
                    claim_name=os.environ.get("LONGTAIL_VOLUME_CLAIM", CLAIM)
                ),
            )
        ],
        volume_mounts=[
            k8s.V1VolumeMount(
                name="longtail",
                mount_path=MOUNT,
                sub_path=f"{settings.workspaces.name}/{_xcom.FOLDER_NAME}",
            ),
            k8s.V1VolumeMount(
                name="longtail", mount_path=str(settings.state), sub_path=settings.state.name
            ),
        ],
        container_resources=k8s.V1ResourceRequirements(limits=limits, requests=limits),
        security_context=k8s.V1PodSecurityContext(
            run_as_non_root=True, run_as_user=USER, fs_group=USER
        ),
        skip_on_exit_code=ExitCodes(),
        on_finish_action="delete_pod",
        do_xcom_push=False,
        **kwargs,
    )
