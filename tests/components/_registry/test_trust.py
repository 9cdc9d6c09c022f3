"""Nothing of a version runs before each of its files is found to be the registered one.

Every tampering plants code that writes a file when it runs; the tests look for that file.
"""

from __future__ import annotations

import json
import marshal
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from components import predict, promote, register
from components._cli import serve
from components._frame.exit_codes import BAD_DATA
from components._frame.launch import exit_code
from components._registry import client as registry
from components._registry import contest, evidence, trust
from components._registry.smoke import smoke
from components._registry.worker import ServedError
from longtail.errors import DataError
from tests.builders.paths import ROOT
from tests.builders.registry_workspace import build

URI = "models:/longtail/1"
MODULE = "code/longtail/errors.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registered version, which is the champion and the one before it."""
    home = tmp_path_factory.mktemp("trust")
    build(home, wrong=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("LONGTAIL_CACHE", str(home / "cache"))
        register.run()
        params = yaml.safe_load(Path("params.yaml").read_text()) | {"predict": {"batch_docs": 10}}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        registry.connect().set_registered_model_alias("longtail", "champion", "1")
        yield home


@pytest.fixture
def version(home: Path) -> Iterator[Path]:
    """The version's folder in the store, put back afterwards."""
    folder = next((home / "mlruns").rglob("MLmodel")).parent
    kept = home / "kept"
    shutil.copytree(folder, kept)
    (home / "ran").unlink(missing_ok=True)
    yield folder
    shutil.rmtree(folder)
    kept.rename(folder)


def planted(home: Path) -> str:
    return f"open({str(home / 'ran')!r}, 'w').close()\n"


def changed_module(home: Path, version: Path) -> None:
    module = version / MODULE
    text = module.read_text()
    start = "from __future__ import annotations\n"
    module.write_text(text.replace(start, start + planted(home)))


def planted_bytecode(home: Path, version: Path) -> None:
    """Unchecked hash-based bytecode: Python runs it without a look at the source."""
    source = version / MODULE
    place = Path(cache_from_source(str(source)))
    place.parent.mkdir(exist_ok=True)
    code = compile(planted(home) + source.read_text().partition("annotations\n")[2], "x", "exec")
    known = source_hash(source.read_bytes())
    place.write_bytes(MAGIC_NUMBER + (1).to_bytes(4, "little") + known + marshal.dumps(code))


def module_without_source(home: Path, version: Path) -> None:
    """The version's own `transformers`, as bytecode."""
    code = compile(planted(home), "x", "exec")
    header = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    (version / "code/transformers.pyc").write_bytes(header + marshal.dumps(code))


def changed_mlmodel(home: Path, version: Path) -> None:
    """MLflow imports the module that it names."""
    elsewhere = home / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "planted.py").write_text(planted(home))
    document = yaml.safe_load((version / "MLmodel").read_text())
    document["flavors"]["python_function"] |= {"loader_module": "planted", "code": str(elsewhere)}
    (version / "MLmodel").write_text(yaml.safe_dump(document))


def swapped_weights(home: Path, version: Path) -> None:
    weights = version / "artifacts/0/model/model.safetensors"
    weights = weights if weights.exists() else next(version.rglob("model.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])


def link_out(home: Path, version: Path) -> None:
    changed_module(home, version)
    outside = home / "outside.py"
    (version / MODULE).replace(outside)
    (version / MODULE).symlink_to(outside)


def extra_module(home: Path, version: Path) -> None:
    """The version's own `transformers`, found before the installed one."""
    (version / "code/transformers.py").write_text(planted(home))


def missing_file(home: Path, version: Path) -> None:
    (version / "requirements.txt").unlink()


TAMPERINGS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "module": (changed_module, f"{MODULE} changed"),
    "no source": (module_without_source, "code/transformers.pyc not registered"),
    "MLmodel": (changed_mlmodel, "MLmodel changed"),
    "weights": (swapped_weights, "model.safetensors changed"),
    "link": (link_out, "is a symbolic link, expected a file"),
    "extra": (extra_module, "code/transformers.py not registered"),
    "missing": (missing_file, "requirements.txt missing"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_nothing_of_a_tampered_version_runs(home: Path, version: Path, tampering: str) -> None:
    tamper, message = TAMPERINGS[tampering]
    sample = evidence.read_sample(str(registry.connect().get_model_version("longtail", "1").run_id))
    tamper(home, version)
    found = smoke(URI, sample)
    assert len(found.faults) == 1 and message in found.faults[0], found.faults
    assert not (home / "ran").exists()


def test_bytecode_beside_the_source_is_neither_run_nor_in_the_way(
    home: Path, version: Path
) -> None:
    """Any program that loads a version where it is stored leaves some there, MLflow first."""
    sample = evidence.read_sample(str(registry.connect().get_model_version("longtail", "1").run_id))
    planted_bytecode(home, version)
    os.mkfifo(next(version.rglob("__pycache__")) / "being_written")
    found = smoke(URI, sample)
    predicted(str(version))
    assert found.faults == []
    assert not (home / "ran").exists()


def test_the_copy_has_modes_of_its_own(version: Path, tmp_path: Path) -> None:
    """A folder that cannot be listed would hide its files from the comparison, not from Python."""
    (version / "code").chmod(0o555)
    try:
        copied = trust.fetch(URI, tmp_path)
    finally:
        (version / "code").chmod(0o755)
    assert (copied / "code").stat().st_mode & 0o700 == 0o700


def rescored() -> None:
    contest._predictions(registry.connect().get_model_version("longtail", "1"), ["ant"])


def predicted(model: str) -> None:
    list(predict.predict([("1", "ant bee")], model, 10))


def served() -> None:
    found = CliRunner().invoke(serve.command, [])
    raise found.exception or AssertionError(found.output)


def rolled_back() -> None:
    client = registry.connect()
    if registry.by_number(client, "longtail", "2") is None:
        client.create_model_version("longtail", "models:/longtail/1")
    client.set_registered_model_alias("longtail", "champion", "2")
    try:
        promote.run_rollback(reason="x", to="1")
    finally:
        client.set_registered_model_alias("longtail", "champion", "1")


USES: dict[str, tuple[Callable[[], None], type[Exception]]] = {
    "re-scoring": (rescored, ServedError),
    "predict": (lambda: predicted("models:/longtail@champion"), DataError),
    "predict, by run": (lambda: predicted(f"runs:/{run_id()}/model"), DataError),
    "predict, by id": (lambda: predicted(f"models:/{model_id()}"), DataError),
    "serve": (served, DataError),
    "rollback": (rolled_back, DataError),
}


def run_id() -> str:
    return str(json.loads(evidence.REGISTERED.read_text())["run_id"])


def model_id() -> str:
    return str(registry.connect().get_run(run_id()).outputs.model_outputs[0].model_id)


@pytest.mark.parametrize("use", USES)
def test_every_command_compares_first(
    home: Path, version: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, error = USES[use]
    monkeypatch.setattr(serve.uvicorn.Server, "run", lambda *_, **__: None)  # the version runs
    changed_module(home, version)
    with pytest.raises(error, match=f"{MODULE} changed") as caught:
        command()
    assert "Nothing of it was run" in str(caught.value)
    assert exit_code(caught.value) == BAD_DATA or error is ServedError
    assert not (home / "ran").exists()


# Each folder in a process of its own, none of which imports MLflow and torch anew.
AS_MLFLOW_DOES = """
import os, sys
import mlflow.pyfunc, torch
for folder in sys.argv[1:]:
    if not (child := os.fork()):
        try:
            mlflow.pyfunc.load_model(folder)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    print(os.path.exists("ran") and not os.remove("ran"))
"""


@pytest.mark.beyond_gate
def test_the_planted_code_would_run(home: Path, version: Path) -> None:
    """The tests above look for the right thing: loaded as MLflow does it, every planting runs."""
    tampered = {name: TAMPERINGS[name][0] for name in ("module", "MLmodel", "no source", "link")}
    tampered |= {"extra": extra_module, "bytecode": planted_bytecode}
    folders = [home / "tampered" / name for name in tampered]
    for tamper, folder in zip(tampered.values(), folders, strict=True):
        shutil.copytree(version, folder, symlinks=True)
        tamper(home, folder)
    argv = [sys.executable, "-I", "-c", AS_MLFLOW_DOES, *map(str, [*folders, version])]
    done = subprocess.run(argv, cwd=home, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-7:] == ["True"] * 6 + ["False"], done.stderr[-2000:]
    shutil.rmtree(home / "tampered")


def test_a_version_that_changes_after_the_comparison_is_not_seen(
    home: Path, version: Path, tmp_path: Path
) -> None:
    copied = trust.fetch(URI, tmp_path)
    changed_module(home, version)
    assert planted(home) not in (copied / MODULE).read_text()


def test_the_digest_can_be_made_by_hand(home: Path, version: Path) -> None:
    """The command of docs/security.md."""
    page = (ROOT / "docs" / "security.md").read_text()
    command = re.search(r"```sh\n(LC_ALL=C find.*?)\n```", page, re.DOTALL)
    assert command is not None
    left_by_mlflow = {path.parent.name for path in version.rglob("*.pyc")}
    assert left_by_mlflow == {"__pycache__"}
    argv = ["bash", "-c", command[1]]
    done = subprocess.run(argv, cwd=version, capture_output=True, text=True, check=True)
    tag = registry.connect().get_model_version("longtail", "1").tags[registry.FILES]
    assert trust.PREFIX + done.stdout.split()[0] == tag


def test_a_version_of_no_known_files_is_refused(home: Path) -> None:
    client = registry.connect()
    tag = client.get_model_version("longtail", "1").tags[registry.FILES]
    client.delete_model_version_tag("longtail", "1", registry.FILES)
    try:
        with pytest.raises(DataError, match="no tag 'files_digest'"):
            predicted(URI)
    finally:
        client.set_model_version_tag("longtail", "1", registry.FILES, tag)


def test_a_changed_listing_is_said_and_still_refused(home: Path, version: Path) -> None:
    stored = next((home / "mlruns").rglob("evidence/files.txt"))
    text = stored.read_text()
    changed_module(home, version)
    stored.write_text(trust.listing(version))
    try:
        with pytest.raises(DataError, match="which ones is unknown"):
            predicted(URI)
    finally:
        stored.write_text(text)


def test_a_model_folder_is_compared_with_the_lock(home: Path, monkeypatch) -> None:
    rows = {"train": {"outs": [{"path": "artifacts/train/model", "md5": "0" * 32 + ".dir"}]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": rows}))
    try:
        with pytest.raises(DataError, match=r"is not what dvc\.lock records"):
            predicted("artifacts/train/model")
        rows["train"]["outs"][0]["md5"] = trust._dvc_md5(evidence.MODEL)
        Path("dvc.lock").write_text(yaml.safe_dump({"stages": rows}))
        predicted("artifacts/train/model")
    finally:
        Path("dvc.lock").unlink()


def test_a_folder_with_modules_without_source_or_links_is_not_loaded(
    home: Path, version: Path, tmp_path: Path
) -> None:
    messages = {"no source": "bytecode without its source", "link": TAMPERINGS["link"][1]}
    for name, message in messages.items():
        folder = tmp_path / name
        shutil.copytree(version, folder)
        TAMPERINGS[name][0](home, folder)
        with pytest.raises(DataError, match=message):
            predicted(str(folder))
        assert not (home / "ran").exists()
