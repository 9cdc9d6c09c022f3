"""How alike texts and the names of new labels are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from components._cli import new_labels
from components._formats.labels_file import read_allowed


def test_features_in_half_precision_are_as_alike_as_in_full(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A length above 256 has a square that float16 cannot hold: all were unlike all."""
    rng = np.random.default_rng(0)
    ours, theirs = 30 * rng.normal(size=(5, 400)), 30 * rng.normal(size=(2, 400))
    ours[1] = theirs[1] + 0.1 * ours[1]
    model = SimpleNamespace(encoder=SimpleNamespace(config=SimpleNamespace(hidden_size=400)))
    monkeypatch.setattr("components._train.features.pretrained", lambda *_: model)
    monkeypatch.setattr(
        "components._train.features.features_of", lambda *_, **__: ours.astype(np.float16)
    )
    monkeypatch.setattr("longtail.models.features.extract_features", lambda *_: theirs)
    monkeypatch.setattr(new_labels, "load_params", lambda *_: None)
    found = new_labels.likeness(["a"] * 5, ["x", "y"], read_allowed(tmp_path / "labels.yaml"))
    lengths = np.linalg.norm(ours, axis=1)[:, None] * np.linalg.norm(theirs, axis=1)
    np.testing.assert_allclose(found, ours @ theirs.T / lengths, atol=1e-3)
    assert found[1, 1] > 0.9
