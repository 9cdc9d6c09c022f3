"""Counts, in the registry, how often a test set was asked, and keeps what its error budget needs.

The state is one tag of the registered model. A test set lives as long as at least half of the
documents that it began with are still in test (judged by a sample, chosen by hash); a
corpus that only grows keeps its test set, `split.refresh` and a new split end its life sooner or
later. The same question, asked again, counts once.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from components._registry import client as registry
from components._registry.evidence import hashed
from longtail import gate
from longtail.errors import DataError

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "test_set"
SKETCH = 64  # documents that stand for the test set
LEAST_SHARE = 0.5  # of them still in test


def asked(
    client: MlflowClient, name: str, ids: Iterable[str], question: str
) -> tuple[gate.Asked, str]:
    """What these test documents were asked before this question, and since when.

    Args:
        client: of the registry.
        name: of the registered model.
        ids: of the test documents.
        question: digest of tonight's question.
    """
    state = _state(client, name)
    now = {hashed(identifier) for identifier in ids}
    if not state or _share(state["sketch"], now) < LEAST_SHARE:
        return gate.Asked(), _today()
    side = state["before"] if state["question"] == question else state["after"]
    return gate.Asked(side["decisions"], _unpacked(side["alarmed"], side["draws"])), state["since"]


def record(
    client: MlflowClient,
    name: str,
    ids: Iterable[str],
    question: str,
    before: gate.Asked,
    after: gate.Asked,
) -> None:
    """Store what the test set has been asked, this question included."""
    state = _state(client, name)
    now = sorted(hashed(identifier) for identifier in ids)
    new = not state or _share(state["sketch"], set(now)) < LEAST_SHARE
    state = {
        "since": _today() if new else state["since"],
        "sketch": now[:SKETCH] if new else state["sketch"],
        "question": question,
        **{
            key: {
                "decisions": side.decisions,
                "draws": len(side.alarmed),
                "alarmed": _packed(side.alarmed),
            }
            for key, side in (("before", before), ("after", after))
        },
    }
    client.set_registered_model_tag(name, TAG, json.dumps(state))


def _state(client: MlflowClient, name: str) -> dict[str, Any]:
    model = registry.by_model(client, name)
    text = model.tags.get(TAG) if model else None
    if text is None:
        return {}
    try:
        return dict(json.loads(text))
    except ValueError:
        raise DataError(
            f"The tag {TAG!r} of {name} is not JSON, so it is unknown how often the test set was "
            "asked; delete the tag to start a new error budget."
        ) from None


def _share(sketch: list[str], now: set[str]) -> float:
    return sum(document in now for document in sketch) / max(1, len(sketch))


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _packed(alarmed: np.ndarray) -> str:
    return base64.b85encode(zlib.compress(np.packbits(alarmed).tobytes(), 9)).decode()


def _unpacked(text: str, n_draws: int) -> np.ndarray:
    packed = np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8)
    return np.unpackbits(packed, count=n_draws).astype(bool)
