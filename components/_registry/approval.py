"""Whether a version needs a person's yes: by the parameters, the run, or because one was asked for.

A version for which approval was once asked is promoted by nothing else: not by the next night, nor
after the first request was refused or went unanswered.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components._registry import client as registry
from longtail.errors import ParameterError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

VARIABLE, TAG = "LONGTAIL_APPROVAL", "approval"
CHOICES = {"yes": True, "no": False}


def needed(version: ModelVersion, configured: bool) -> bool:
    """Whether the version needs approval.

    Args:
        version: the challenger.
        configured: the parameter `promote.approval`; the variable `LONGTAIL_APPROVAL` overrides it.

    Raises:
        ParameterError: the variable is neither `yes` nor `no`.
    """
    wish = os.environ.get(VARIABLE, "")
    if wish and wish not in CHOICES:
        raise ParameterError(f"{VARIABLE} is {wish!r}; expected yes, no, or nothing.")
    return TAG in version.tags or CHOICES.get(wish, configured)


def ask(client: MlflowClient, version: ModelVersion, decision_id: str) -> None:
    """Mark the version as one that waits for approval."""
    if TAG not in version.tags:
        client.set_model_version_tag(version.name, version.version, TAG, decision_id)


def waiting(client: MlflowClient, name: str, known: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Those of the versions that still wait: asked for, never champion, and newer than today's."""
    champion = registry.by_alias(client, name, registry.CHAMPION)
    newest = int(champion.version) if champion else 0
    past = {entry["to"] for entry in registry.history(client, name)}
    return [
        version
        for version in known
        if TAG in version.tags
        and str(version.version) not in past
        and int(version.version) > newest
    ]
