"""The served model and its smoke test, in fresh processes without the project's source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from components import register
from components._formats.json_file import read_json
from components._registry import client as registry
from components._registry import evidence, trust
from components._registry.smoke import Sample, smoke
from components._registry.worker import Served, ServedError
from longtail.evaluation.metrics import apply_thresholds
from tests.builders.registry_workspace import WORDS, build

URI = "models:/longtail/1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a registered, blended model, whose SVM is that of very many labels."""
    home = tmp_path_factory.mktemp("serving")
    build(home, wrong=2, blend_weight=0.3, sparse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        register.run()
        yield home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    with Served(URI) as model:
        yield model


@pytest.fixture(scope="module")
def sample(home: Path) -> Sample:
    run_id = json.loads((home / "reports/registered.json").read_text())["run_id"]
    return evidence.read_sample(run_id)


def test_a_fresh_process_answers_as_the_pipeline_scored(served: Served, home: Path):
    scores, _ = evidence.test_scores()
    table = read_json(evidence.THRESHOLDS)["models"]["model"]["thresholds"]
    expected = apply_thresholds(scores.scores, table).toarray()
    answer = served.ask(evidence.texts_of(scores.ids))
    found = np.array([[label in row for label in WORDS] for row in answer.labels], dtype=np.int8)
    np.testing.assert_array_equal(found, expected)
    for row, labels, values in zip(scores.scores, answer.labels, answer.scores, strict=True):
        assert values == sorted(values, reverse=True)
        for label, value in zip(labels, values, strict=True):
            assert value == pytest.approx(row[WORDS.index(label)], abs=1e-5)


def test_threshold_and_top_k_are_inference_parameters(served: Served):
    everything = served.ask(["ant bee"], threshold=0.0)
    assert sorted(everything.labels[0]) == sorted(WORDS)
    best = served.ask(["ant bee"], threshold=0.0, top_k=2)
    assert best.labels[0] == everything.labels[0][:2]
    assert served.ask(["ant bee"], threshold=1.0).labels == [[]]


@pytest.mark.parametrize(
    ("texts", "params", "match"),
    [
        (["a", None], {}, "Row 2: 'text' is missing"),
        (["a"], {"threshold": 1.5}, "threshold must be between 0 and 1"),
        (["a"], {"top_k": 0}, "top_k must be at least 1"),
    ],
)
def test_bad_input_is_refused_with_a_reason_and_the_process_lives(
    served: Served, texts: list, params: dict, match: str
):
    with pytest.raises(ServedError, match=match):
        served.ask(texts, **params)
    assert len(served.ask(["a"]).labels) == 1


def test_the_smoke_test_passes_and_measures(home: Path, sample: Sample):
    found = smoke(URI, sample)
    assert found.faults == []
    assert set(found.measured) == {"size_mb", "start_seconds", "seconds_per_doc", "memory_mb"}
    assert all(value > 0 for value in found.measured.values())


def test_scores_that_disagree_are_a_fault(home: Path, sample: Sample):
    rows = [list(row) for row in sample.scores]
    rows[3][2] += 2e-4
    found = smoke(URI, Sample(sample.texts, sample.labels, rows))
    assert len(found.faults) == 1
    assert "differ from those of the pipeline by up to 0.0002" in found.faults[0]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_corrupted_artifact_is_a_fault(home: Path, sample: Sample, damage: str):
    weights = next((home / "mlruns").rglob("model.safetensors"))
    whole = weights.read_bytes()
    try:
        if damage == "flip":
            weights.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
        else:
            weights.unlink()
        assert smoke(URI, sample).faults
    finally:
        weights.write_bytes(whole)


@contextmanager
def changed(home: Path, old: str, new: str) -> Iterator[None]:
    """Register the version as if its packed module had `new` for `old`, while it is needed."""
    module = next((home / "mlruns").rglob("artifacts/serving.py"))
    code = module.read_text()
    assert old in code
    client = registry.connect()
    tag = client.get_model_version("longtail", "1").tags[registry.FILES]
    try:
        module.write_text(code.replace(old, new))
        trust.drop_bytecode(module.parent)  # left by MLflow
        other = trust.digest(trust.listing(module.parent))
        client.set_model_version_tag("longtail", "1", registry.FILES, other)
        yield
    finally:
        module.write_text(code)
        client.set_model_version_tag("longtail", "1", registry.FILES, tag)


@pytest.mark.slow
def test_a_version_of_an_older_release_runs_its_own_code(home: Path, served: Served):
    """Its packed module is changed as if it were older: it reads every text as "fox"."""
    everything = {"threshold": 0.0}
    fox, ant = (served.ask([text], **everything).scores[0] for text in ("fox", "ant"))
    assert fox != ant
    older = 'texts = ["fox"] * len(model_input)'
    with changed(home, "texts = _texts(model_input)", older), Served(URI) as model:
        assert model.ask(["ant"], **everything).scores[0] == fox


@pytest.mark.slow
@pytest.mark.parametrize("module", ["components.register", "longtail.gate"])
def test_a_version_does_not_see_the_installed_project(home: Path, sample: Sample, module: str):
    """Both modules are installed in the tests' environment, and neither is packed."""
    with changed(home, "import numpy as np", f"import {module}\nimport numpy as np"):
        found = smoke(URI, sample)
    assert len(found.faults) == 1
    assert "does not load" in found.faults[0]
    assert f"No module named '{module}' in the version" in found.faults[0]


def test_a_missing_version_is_a_fault(home: Path, sample: Sample):
    found = smoke("models:/longtail/99", sample)
    assert len(found.faults) == 1
    assert "cannot be downloaded" in found.faults[0] and "version=99) not found" in found.faults[0]


def test_nothing_of_the_version_is_a_pickle(home: Path):
    folder = Path(mlflow.artifacts.download_artifacts(URI))
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt"))]
    assert {"model.safetensors", "linear.npz", "coef.npz", "thresholds.json"} <= names


def test_the_signature_names_input_output_and_parameters(home: Path):
    info = mlflow.models.get_model_info(URI)
    assert info.signature.inputs.input_names() == ["text"]
    assert info.signature.outputs.input_names() == ["labels", "scores"]
    assert [param.name for param in info.signature.params.params] == ["top_k", "threshold"]
    model = mlflow.pyfunc.load_model(URI)
    with pytest.raises(MlflowException):
        model.predict(pd.DataFrame({"words": ["a"]}))
