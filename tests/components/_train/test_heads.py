"""What of the parameters reaches the training of heads."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from components._formats.assignment import Part
from components._formats.learned import Learned
from components._train import heads
from components._train.heads import Features, fit_heads
from components._train.params import Params
from longtail.models.heads import Examples, HeadShape, HeadTraining
from longtail.splitting.rounds import make_plan
from tests.builders.params import stage_params


def test_every_parameter_of_the_head_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "hidden": 3, "label_names": False, "dropout": 0.25, "learning_rate": 0.125,
        "weight_decay": 0.5, "epochs": 7, "batch_size": 9, "bf16": False, "negatives": 11,
    }  # fmt: skip
    params = stage_params(Params, "train", {"head": given})
    assert set(given) == set(type(params.head).model_fields)
    seen = {}
    monkeypatch.setattr(heads, "cross_fit", lambda *_, **options: seen.update(options))
    targets = sp.csr_matrix(np.eye(4, dtype=np.int8))
    part = Part(list("abcd"), list("abcd"), targets, np.full(4, -1))
    examples, names = Examples(np.ones((4, 8), np.float32), targets), np.ones((4, 8), np.float32)
    found = Learned(part, make_plan(part.folds, np.arange(4) > 2))
    fit_heads(Features(examples, examples, names), found, {}, params, names, "heads")
    assert seen["shape"] == HeadShape(3, 0.25, None)
    assert seen["how"] == HeadTraining(0.125, 0.5, 7, 9, False, 11)
