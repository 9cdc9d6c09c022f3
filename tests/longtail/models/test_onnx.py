"""The exported graph against PyTorch, on other batch sizes and lengths than it was traced with."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from transformers import BertConfig, BertModel

from longtail.models import classifier, onnx_classifier
from longtail.models.beginning import CHARACTERS_PER_TOKEN, MOST_CHARACTERS
from longtail.models.encoder import load_encoder
from longtail.models.onnx_export import export
from tests.builders.paths import ROOT
from tests.builders.small_project import small_corpus, write_encoder

LABELS = [f"label-{i}" for i in range(12)]
TEXTS = ["", "word1 cue0a", "word2 " * 50, "word3 cue1b word5 word6", *small_corpus(20)["text"]]


@pytest.fixture(scope="module", params=[True, False], ids=["label names", "head alone"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder)
    torch.manual_seed(1)
    built = classifier.build(
        *load_encoder(str(folder)),
        LABELS,
        hidden=8,
        dropout=0.2,
        max_length=12,
        label_names=request.param,
    )
    if request.param:
        built.head.name_labels(torch.randn(12, 128), torch.randn(30, 128))
    return built.eval()


def test_onnx_runtime_scores_as_pytorch_does(model, tmp_path, monkeypatch):
    export(model, tmp_path)
    served = onnx_classifier.load(tmp_path)
    assert served.labels == LABELS
    expected = model.scores(TEXTS)
    for budget in (8192, 40, 1):  # one batch, several, a text at a time
        monkeypatch.setattr(onnx_classifier, "BATCH_TOKENS", budget)
        found = served.scores(TEXTS)
        assert np.array_equal(found, served.scores(TEXTS, n_jobs=1)), "the threads change scores"
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3, "the texts must differ in their scores"
    assert served.scores([]).shape == (0, 12)


@pytest.mark.parametrize("shift", [-14.0, 13.0])
def test_scores_near_0_and_1_are_as_exact_as_pytorchs(model, tmp_path, shift):
    """A blend mixes logits: 6e-8 of a score of 6e-7 were 3e-4 of what was served."""
    model = copy.deepcopy(model)
    n_members = 2 if len(model.head.similarities) else 1
    model.head.layers[-1].get_parameter("bias").data += n_members * shift
    export(model, tmp_path)
    found, expected = onnx_classifier.load(tmp_path).scores(TEXTS), model.scores(TEXTS)
    step = 2**-24
    assert ((expected if shift < 0 else 1 - expected) < 500 * step).sum() > 50
    if shift < 0:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0)
    else:
        assert (found == expected).mean() > 0.95
        np.testing.assert_allclose(found, expected, rtol=0, atol=step)


def test_a_long_text_is_cut_before_it_is_tokenized(model, tmp_path):
    """Tokenizing takes 150 bytes of memory per character: one text could end the server."""
    export(model, tmp_path)
    served = onnx_classifier.load(tmp_path)
    read = []

    class Counted:
        def encode_batch(self, texts):
            read.extend(map(len, texts))
            return tokenizer.encode_batch(texts)

    tokenizer, served.tokenizer = served.tokenizer, Counted()
    texts = ["word1 cue0a " * 100_000, " " * (MOST_CHARACTERS + 9) + "cue1b", "word1 cue0a"]
    np.testing.assert_allclose(served.scores(texts), model.scores(texts), atol=1e-5)
    assert read == [CHARACTERS_PER_TOKEN * 12, MOST_CHARACTERS, 11]


@pytest.mark.slow
@pytest.mark.beyond_gate
def test_an_encoder_above_2_gib_is_exported(model, tmp_path):
    """What one protobuf message may hold; 540,000 words of 1,024 numbers are 2.06 GiB.

    Takes 7 GB of memory.
    """
    size = {"vocab_size": 540_000, "hidden_size": 1024, "num_hidden_layers": 1}
    encoder = BertModel(BertConfig(**size, num_attention_heads=2, intermediate_size=8))
    large = classifier.build(
        encoder, model.tokenizer, LABELS, hidden=0, dropout=0.0, max_length=12
    ).eval()
    export(large, tmp_path)
    found = onnx_classifier.load(tmp_path).scores(TEXTS[:5])
    np.testing.assert_allclose(found, large.scores(TEXTS[:5]), atol=1e-5)


def test_a_tokenizer_that_keeps_the_end_of_a_text_does_so_when_it_is_served(model, tmp_path):
    long = "cue0a " * 2000 + "cue1b cue2a " * 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.tokenizer, "truncation_side", "left")
        export(model, tmp_path)
        end = model.scores([long])
    np.testing.assert_allclose(onnx_classifier.load(tmp_path).scores([long]), end, atol=1e-5)
    assert np.abs(end - model.scores([long])).max() > 1e-4, "the beginning differs from the end"


def test_int8_is_smaller_and_near(model, tmp_path):
    for name, int8 in (("float32", False), ("int8", True)):
        export(model, tmp_path / name, int8=int8)
    files = {name: tmp_path / name / onnx_classifier.FILE for name in ("int8", "float32")}
    assert files["int8"].stat().st_size < files["float32"].stat().st_size
    graph = onnx.load(files["int8"]).graph
    assert {"MatMulInteger", "DynamicQuantizeLinear"} <= {node.op_type for node in graph.node}
    found = onnx_classifier.load(tmp_path / "int8").scores(TEXTS)
    expected = model.scores(TEXTS)
    assert 0 < np.abs(found - expected).max() < 0.05
    kept = {path.name for path in (tmp_path / "int8").iterdir()}
    assert onnx_classifier.FILE in kept and not kept & {"float32.onnx", "model.safetensors"}


def test_serving_the_graph_needs_no_pytorch(model, tmp_path):
    export(model, tmp_path)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from longtail.models import blending, onnx_classifier\n"
        f"scores = onnx_classifier.load(Path({str(tmp_path)!r})).scores(['word1'])\n"
        "print(scores.shape, {'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "(1, 12) set()", done.stderr
