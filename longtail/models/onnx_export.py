"""Exports the classifier as an ONNX graph, in float32 or with weights in int8."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from torch import Tensor, nn

from longtail.errors import ParameterError
from longtail.models.classifier import Classifier
from longtail.models.onnx_classifier import FILE, LOGITS, SCORES, TOKENIZER

OPSET = 17


class _Scorer(nn.Module):
    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model.logits(input_ids, attention_mask).float()
        return logits.sigmoid(), logits


def export(model: Classifier, folder: Path, *, int8: bool = False) -> None:
    """Write the graph from token ids and mask to σ(z) and z, and the files of config and tokenizer.

    `onnx_classifier.load` reads the folder, and uses z: ONNX Runtime's σ(z) is a multiple of 6e-8,
    so a tenth off where it is 6e-7, and a blend with the baseline mixes logits. σ(z) comes first,
    which older code takes, where a version registered with it is loaded into the same process.

    Args:
        model: moved to the CPU and set to evaluation mode.
        folder: created if it does not exist.
        int8: store the weights of matrix products as int8, one scale per column, and quantize
            activations on the fly, one scale per tensor (dynamic quantization). A score then
            depends slightly on the texts in the same batch. Embeddings stay float32.

    Raises:
        ParameterError: the tokenizers library cannot read the tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / FILE
    model = model.eval().cpu()
    if int8:
        # Above 2 GiB a graph has files beside it.
        with tempfile.TemporaryDirectory(dir=folder) as whole:
            _trace(model, Path(whole) / FILE)
            quantize_dynamic(
                Path(whole) / FILE,
                graph,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"],
            )
    else:
        _trace(model, graph)
    model.config.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    if not (folder / TOKENIZER).exists():
        raise ParameterError(
            f"The encoder's tokenizer ({type(model.tokenizer).__name__}) has no {TOKENIZER}, "
            "which ONNX needs; serve this model with PyTorch."
        )
    # The file has what the last caller asked for, if anybody did.
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    side = model.tokenizer.truncation_side
    tokenizer.enable_truncation(model.config.max_length, direction=side)
    tokenizer.no_padding()
    tokenizer.save(str(folder / TOKENIZER))


def _trace(model: Classifier, path: Path) -> None:
    """Write the graph by tracing.

    The graph from torch.export is slower here, and ONNX Runtime's quantization rejects its shapes
    (torch 2.13, onnxruntime 1.31).
    """
    ids = torch.ones(3, 17, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0  # a mask of all ones would be traced as no mask
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "seq_len"} for name in names} | {
        name: {0: "batch"} for name in (SCORES, LOGITS)
    }
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # shapes that tracing takes as constants; tests check them
        torch.onnx.export(
            _Scorer(model),
            (ids, mask),
            str(path),  # given a Path, torch writes no graph above 2 GiB
            input_names=names,
            output_names=[SCORES, LOGITS],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
