"""What an installation adds to the pods of its steps, and what the end of a pod means."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiClient, V1ContainerState, V1Pod, V1PodStatus
from kubernetes.client.exceptions import ApiException

from dags._steps import raise_for_exit_code

# Keys of the file `LONGTAIL_PODS`, beside the names of steps.
IMAGES, ALL_STEPS = "images", "default"
# What identifies an item of a list; lists whose items have neither are replaced as a whole.
ITEM_KEYS = ("mountPath", "name")
# Trying again does not help.
HOPELESS = ("InvalidImageName", "ErrImageNeverPull")


def load_pods(path: str, steps: Collection[str]) -> dict[str, Any]:
    """Read and check the file `LONGTAIL_PODS`: images by target, partial pods by step.

    Args:
        path: The file.
        steps: The names that steps have.

    Raises:
        ValueError: It is missing, not YAML, or names a step or field that does not exist.
    """
    try:
        pods = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"LONGTAIL_PODS is {path}, which cannot be read: {error}") from None
    if not isinstance(pods, dict) or not all(isinstance(part, dict) for part in pods.values()):
        raise ValueError(
            f"LONGTAIL_PODS is {path}; expected the keys `{IMAGES}`, `{ALL_STEPS}`, and names of "
            "steps, each with a mapping."
        )
    for name in pods.keys() - {IMAGES}:
        if name not in {ALL_STEPS, *steps}:
            guess = get_close_matches(str(name), steps, n=1)
            hint = f"; did you mean {guess[0]!r}?" if guess else ";"
            raise ValueError(
                f"LONGTAIL_PODS is {path}, which has {name!r}{hint} expected `{IMAGES}`, "
                f"`{ALL_STEPS}`, or a step: {', '.join(sorted(steps))}."
            )
        part = merged({"spec": {"containers": []}}, pods[name])
        try:
            unknown = _lost(part, to_dict(to_pod(part)))
        except ValueError as error:
            raise ValueError(f"{path}, {name}: {error}") from None
        if unknown:
            raise ValueError(f"{path}: pods have no field {name}.{unknown}; see `kubectl explain`.")
    return pods


def merge_pod(pod: V1Pod, pods: dict[str, Any], step: str) -> V1Pod:
    """The step's pod with the installation's parts over it, the step's own last."""
    result = to_dict(pod)
    for name in (ALL_STEPS, step):
        result = merged(result, pods.get(name, {}))
    return to_pod(result)


def merged(under: Any, over: Any) -> Any:
    """`over` laid over `under` as `kubectl patch` does: mappings and named items one by one."""
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {
            name: merged(under[name], value) if name in under else value
            for name, value in over.items()
        }
    key = next((key for key in ITEM_KEYS if _items_have(key, under) and _items_have(key, over)), "")
    if not key:
        return over
    both = merged({item[key]: item for item in under}, {item[key]: item for item in over})
    return list(both.values())


def _items_have(key: str, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(i, dict) and key in i for i in value)


def _lost(given: Any, kept: Any) -> str:
    """The path of the first field of `given` that `kept` lacks."""
    if isinstance(given, list) and isinstance(kept, list):
        given, kept = dict(enumerate(given)), dict(enumerate(kept))
    if not isinstance(given, dict) or not isinstance(kept, dict):
        return ""
    for name, value in given.items():
        if name not in kept:
            return "" if value in (None, [], {}) else str(name)
        if inner := _lost(value, kept[name]):
            return f"{name}.{inner}"
    return ""


def to_dict(pod: V1Pod) -> dict[str, Any]:
    """The pod as its manifest."""
    manifest: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return manifest


def to_pod(manifest: dict[str, Any]) -> V1Pod:
    return PodGenerator.deserialize_model_dict(manifest)


def raise_for_pod(pod: V1Pod, container: str) -> None:
    """Raise what the end of a pod means to Airflow; nothing if it succeeded or is running.

    Raises:
        AirflowSkipException: The gate was not passed.
        AirflowException: It did not start, or was killed from outside; Airflow retries it.
        AirflowFailException: Any other failure; Airflow does not retry it.
    """
    status = pod.status
    state = _deciding_state(status, container)
    evicted = _reason(status)
    if state and state.terminated:
        cause = _reason(state.terminated) if state.terminated.reason == "OOMKilled" else ""
        lines = (state.terminated.message or "").splitlines()[-5:]
        raise_for_exit_code(state.terminated.exit_code, [evicted, cause, *lines])
        return
    waiting = state.waiting if state else None
    unscheduled = [c for c in status.conditions or []
                   if c.type == "PodScheduled" and c.status != "True"]  # fmt: skip
    cause = evicted or next(filter(None, map(_reason, [waiting, *unscheduled])), "")
    if waiting and waiting.reason in HOPELESS:
        raise AirflowFailException(f"The pod did not start; not retried. {cause}")
    if status.phase == "Running":
        return
    raise AirflowException(f"The pod did not start or was lost; retryable. {cause}")


def _deciding_state(status: V1PodStatus, container: str) -> V1ContainerState | None:
    """The state of the init container that failed or does not start, else of the container."""
    for before in status.init_container_statuses or []:
        ended, waiting = before.state.terminated, before.state.waiting
        if (ended and ended.exit_code) or (waiting and waiting.reason != "PodInitializing"):
            return before.state
    return next((s.state for s in status.container_statuses or [] if s.name == container), None)


def _reason(status: Any) -> str:
    """`Reason: message` of anything in a pod's status that has them."""
    found = [status.reason, status.message] if status else []
    return ": ".join(part for part in found if part)


def raise_for_api(error: ApiException) -> None:
    """Raise what a refusal by the Kubernetes API means, with its message alone.

    Raises:
        AirflowException: It may succeed later (no quota, no permission yet, server down).
        AirflowFailException: The pod itself is wrong.
    """
    try:
        message = yaml.safe_load(error.body or "")["message"]
    except (yaml.YAMLError, TypeError, KeyError):
        message = ""
    text = f"The Kubernetes API refused ({error.status} {error.reason}). {message}"
    if error.status in (400, 404, 422):
        raise AirflowFailException(f"{text} Not retried.") from None
    raise AirflowException(f"{text} Retryable.") from None
