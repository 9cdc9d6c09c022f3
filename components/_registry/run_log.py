"""Logs one run to MLflow: parameters, metrics, reports, evidence, and the model as a pyfunc."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
import yaml
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelOutput, Metric, Run
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from components._formats.json_file import read_json
from components._formats.model import load_model
from components._formats.scores_params import Params as ScoresParams
from components._frame.params import load_params
from components._frame.pipeline import load_stages
from components._frame.usage import read_usage
from components._registry import client as registry
from components._registry import evidence, reference, trust
from components._registry.provenance import SERVING, origin_tags, pack_code
from components._registry.smoke import INT8_TOLERANCE, Sample
from longtail.errors import DataError, ParameterError

if TYPE_CHECKING:
    from components._registry.serving import LongtailModel

HISTORY = Path("reports/train/history.csv")
METRICS = Path("reports/metrics.json")
REPORTS = Path("reports")
PACKAGES = ("mlflow", "numpy", "pandas", "scipy", "scikit-learn")
PYTORCH_PACKAGES, ONNX_PACKAGES = ("torch", "transformers"), ("onnxruntime", "tokenizers")
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "text")]),
    outputs=Schema(
        [ColSpec(Array(DataType.string), "labels"), ColSpec(Array(DataType.double), "scores")]
    ),
    params=ParamSchema(
        [ParamSpec("top_k", DataType.long, None), ParamSpec("threshold", DataType.double, None)]
    ),
)
EXAMPLE = pd.DataFrame({"text": ["A small program that converts text files from one encoding."]})


def open_experiment(name: str) -> str:
    """Select the experiment, creating it if necessary, and return its id."""
    return mlflow.set_experiment(name).experiment_id


def models(run: Run) -> list[LoggedModelOutput]:
    """The models logged in `run`."""
    return run.outputs.model_outputs if run.outputs else []


def log_run(params: registry.RegisterParams, key: str, artifacts: dict[str, Path]) -> str:
    """Log everything about the version in a run of its own, and return the run's id.

    Args:
        params: of `register`.
        key: digest of data, code and parameters.
        artifacts: the model's files, by the names that `serving` knows.
    """
    scores, _ = evidence.test_scores()
    assignment = pd.read_parquet(evidence.ASSIGNMENT)
    seen = evidence.seen_ids(assignment)
    tags = {
        registry.KEY: key,
        registry.RUNTIME: params.runtime,
        "train_ids_digest": evidence.digest(seen),
    }
    tags |= origin_tags(evidence.ASSIGNMENT)
    with mlflow.start_run(run_name=key[:12], tags=tags) as run:
        mlflow.log_text(seen, evidence.SEEN_FILE)
        mlflow.log_text(evidence.hashed_lines(assignment["id"]), evidence.KNOWN_FILE)
        _log_results(run.info.run_id)
        _log_dataset(tags["data_md5"])
        sample = evidence.make_sample(params.sample)
        with _served_files(artifacts, params.runtime) as files:
            if params.runtime != "pytorch":
                model = _loaded(files)
                sample = _checked(model, sample, params.runtime)
            if params.runtime == "onnx_int8":
                texts = evidence.texts_of(scores.ids)
                keep = load_params("scores", ScoresParams).keep
                own = keep.scored(lambda rows: model.scores(texts[rows]), scores.targets)
                scores = replace(scores, scores=own)
            evidence.write_sample(sample)
            reference.write(scores, evidence.val_scores())
            mlflow.set_tag(registry.FILES, _log_model(files, params.runtime))
    return run.info.run_id


@contextmanager
def _served_files(artifacts: dict[str, Path], runtime: str) -> Iterator[dict[str, Path]]:
    """Yield the model's files, with the model itself exported unless the runtime is `pytorch`."""
    if runtime == "pytorch":
        yield artifacts
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        trained = load_model(artifacts["model"])
        with _exportable(runtime):
            from longtail.models.onnx_export import export  # takes seconds to load

            export(trained, folder, int8=runtime == "onnx_int8")
        yield artifacts | {"model": folder}


@contextmanager
def _exportable(runtime: str) -> Iterator[None]:
    """Say what to do where the exporter or ONNX Runtime cannot do with an encoder, or is missing.

    They raise whatever the encoder's code meets while it is traced.
    """
    try:
        yield
    except (DataError, ParameterError, OSError, MemoryError):
        raise
    except ImportError as error:
        raise ParameterError(
            f"register.runtime: {runtime} needs a package that does not load here ({error}). "
            "Install the extra `registry`, or set it to pytorch; nothing is trained again."
        ) from error
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise ParameterError(
            f"register.runtime: {runtime} cannot serve this encoder ({type(error).__name__}: "
            f"{said}). Set it to pytorch; nothing is trained again."
        ) from error


def _loaded(files: dict[str, Path]) -> LongtailModel:
    """The model as it will be served, in this process."""
    from components._registry.serving import LongtailModel

    model = LongtailModel()
    model.load_context(SimpleNamespace(artifacts=files))
    return model


def _checked(model: LongtailModel, sample: Sample, runtime: str) -> Sample:
    """Compare the exported model's scores with the pipeline's; an int8 sample gets its own scores.

    What int8 loses in F1 is judged by `promote`, on the whole test set.
    """
    with _exportable(runtime):
        scores = model.scores(sample.texts)
    known = np.array(sample.scores, dtype=np.float64)  # NaN where a score was dropped
    worst = float(np.nanmax(np.abs(scores - known), initial=0.0))
    mlflow.log_metric("runtime_difference", worst)
    if runtime == "onnx_int8":
        return replace(sample, scores=scores.tolist(), tolerance=INT8_TOLERANCE)
    if worst > sample.tolerance:
        raise DataError(
            f"The exported model's scores differ by up to {worst:.2g} from the pipeline's; "
            f"expected at most {sample.tolerance:.2g}. Set register.runtime to pytorch."
        )
    return sample


def _log_results(run_id: str) -> None:
    document = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    mlflow.log_params(dict(_flat(document, ".")))
    used = [(f"usage/{stage}/{name}", float(value))
            for stage, found in read_usage().items() for name, value in found.items()]  # fmt: skip
    numbers = [*_numbers(METRICS), *used]
    metrics = [Metric(_metric_name(n), v, _now(), 0) for n, v in numbers] + list(_epochs())
    for start in range(0, len(metrics), 500):
        mlflow.MlflowClient().log_batch(run_id, metrics=metrics[start : start + 500])
    for path in _reports():
        place = path.relative_to(REPORTS)
        if path.is_dir():
            mlflow.log_artifacts(str(path), str(place))
        elif path.exists():
            mlflow.log_artifact(str(path), str(place.parent) if len(place.parts) > 1 else None)


def _reports() -> list[Path]:
    """The outputs of stages in `reports/`, except those in `meta.unlogged`."""
    return [
        Path(out)
        for stage in load_stages()
        for out in stage.outs
        if REPORTS in Path(out).parents and out not in stage.meta.get("unlogged", ())
    ]


def _epochs() -> Iterator[Metric]:
    """The training history as metrics, one per loss, profile and column; the step is the epoch."""
    if not HISTORY.exists():
        return
    for row in pd.read_csv(HISTORY).to_dict("records"):
        loss, profile, epoch = row.pop("loss"), row.pop("profile"), int(row.pop("epoch"))
        for name, value in row.items():
            if value == value:  # not NaN, an empty cell
                yield Metric(_metric_name(f"{loss}/{profile}/{name}"), float(value), _now(), epoch)


def _log_dataset(data_md5: str) -> None:
    source = resolve_dataset_source(str(evidence.CORPUS))
    dataset = MetaDataset(source, name="corpus", digest=data_md5[:36])  # type: ignore[abstract]
    mlflow.log_input(dataset, context="training")
    table = read_json(evidence.FREQUENCIES).get("statistics", {})
    mlflow.log_dict(table, "dataset_statistics.json")


def _log_model(artifacts: dict[str, Path], runtime: str) -> str:
    """Log the pyfunc with the modules that it needs, and return the digest of its files."""
    packages = PACKAGES + (PYTORCH_PACKAGES if runtime == "pytorch" else ONNX_PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        model = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVING),
            artifacts={name: str(path) for name, path in artifacts.items()},
            code_paths=pack_code(Path(folder)),
            signature=SIGNATURE,
            input_example=EXAMPLE,
            pip_requirements=[f"{p}=={installed(p).split('+')[0]}" for p in packages],
        )
    with tempfile.TemporaryDirectory(prefix="longtail-logged-") as folder:
        place = mlflow.artifacts.download_artifacts(model.model_uri, dst_path=folder)
        trust.drop_bytecode(Path(place))
        files = trust.listing(Path(place))
    mlflow.log_text(files, trust.LISTING)
    return trust.digest(files)


def _numbers(path: Path) -> Iterator[tuple[str, float]]:
    if path.exists():
        for name, value in _flat(read_json(path), "/"):
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield name, float(value)


def _flat(value: Any, separator: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(
                inner, separator, f"{prefix}{separator}{name}" if prefix else str(name)
            )
    else:
        yield prefix, value


def _now() -> int:
    return int(time.time() * 1000)


def _metric_name(name: str) -> str:
    return re.sub(r"[^\w\-. /:]", "_", name)
