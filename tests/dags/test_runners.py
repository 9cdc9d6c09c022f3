"""What an exit code means to Airflow, and how a step runs as a process."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from components._frame.pipeline import ON_GPU
from dags._environment import private_environment
from dags._process import ProcessOperator, check_params
from dags._runners import RUNNERS, operator
from dags._settings import load_settings
from dags._steps import Step, raise_for_exit_code
from tests.builders.paths import ROOT


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (1, AirflowFailException), (2, AirflowFailException), (3, AirflowFailException),
        (4, AirflowSkipException), (126, AirflowFailException), (75, AirflowException),
        (137, AirflowException), (-9, AirflowException), (143, AirflowException),
    ],
)  # fmt: skip
def test_exit_codes(code: int, outcome: type[Exception]) -> None:
    with pytest.raises(AirflowException) as caught:
        raise_for_exit_code(code, ["", "the reason"])
    assert type(caught.value) is outcome
    assert "the reason" in str(caught.value)


def test_all_faults_of_params_are_told_before_the_first_stage(tmp_path: Path) -> None:
    for name in ("components", "longtail", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    check_params(tmp_path)
    for old, new in (
        ("    HEAD:", "    HAED:"),
        ("max_length:", "max_lenth:"),
        ("drift:", "drfit:"),
    ):
        assert text.count(old) >= 1
        text = text.replace(old, new, 1)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(AirflowFailException, match="not retried") as caught:
        check_params(tmp_path)
    for hint in ("'HEAD'", "'max_length'", "'drift'"):
        assert f"Did you mean {hint}" in str(caught.value)
    (tmp_path / "components").unlink()
    check_params(tmp_path)  # the code of an earlier date has no check


def test_exit_code_zero_passes() -> None:
    raise_for_exit_code(0, ["anything"])


def process(program: str, folder: Path, **env: str) -> ProcessOperator:
    argv = ["python", "-c", program]
    return ProcessOperator(task_id="step", argv=argv, cwd=str(folder), env=env)


def test_a_step_gets_its_own_environment_but_not_airflow_s(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    program = (
        "import os; open('seen', 'w').write(','.join(sorted(n for n in os.environ "
        "if n.startswith(('AIRFLOW', 'PYTHONPATH', 'GIVEN')))))"
    )
    process(program, tmp_path, GIVEN="1").execute({})
    assert (tmp_path / "seen").read_text() == "GIVEN"


def test_a_failing_step_quotes_its_last_lines(tmp_path: Path) -> None:
    program = "import sys; print('one'); print('ingest: row 7 is broken'); sys.exit(3)"
    with pytest.raises(AirflowFailException, match="ingest: row 7 is broken"):
        process(program, tmp_path).execute({})


def test_a_step_killed_from_outside_may_be_retried(tmp_path: Path) -> None:
    with pytest.raises(AirflowException) as caught:
        process("import os; os.kill(os.getpid(), 9)", tmp_path).execute({})
    assert type(caught.value) is AirflowException


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    program = "import sys; open('seen', 'w').write(sys.argv[1])"
    argv = ["python", "-c", program, "$(touch bad); *"]
    ProcessOperator(task_id="step", argv=argv, cwd=str(tmp_path), env={}).execute({})
    assert (tmp_path / "seen").read_text() == "$(touch bad); *"
    assert os.listdir(tmp_path) == ["seen"]


def test_containers_get_no_airflow_secret(monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_X", "secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "needed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////srv/longtail/mlflow.db")
    env = private_environment(load_settings())
    assert env["AWS_ACCESS_KEY_ID"] == "needed"
    assert env["_MLFLOW_SERVER_ARTIFACT_ROOT"] == "/srv/longtail/mlruns"
    assert not [name for name in env if name.startswith("AIRFLOW")]


@pytest.mark.parametrize("address", ["https://user:planted-1@mlflow.example", "x-planted-1"])
def test_a_step_s_secret_is_in_no_message_and_no_log(
    address: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    name = "MLFLOW_TRACKING_URI" if "://" in address else "MLFLOW_TRACKING_TOKEN"
    monkeypatch.setenv(name, address)
    program = f"import os; print(os.environ['{name}'].replace('mlflow', 'other')); 1 / 0"
    with pytest.raises(AirflowFailException, match="ZeroDivisionError") as caught:
        process(program, tmp_path).execute({})
    log = "".join(capsys.readouterr())
    assert "ZeroDivisionError" in log
    assert "planted-1" not in str(caught.value) + log
    assert "***" in str(caught.value)


def test_a_misspelled_runner_is_rejected(monkeypatch: Any) -> None:
    monkeypatch.setenv("LONGTAIL_RUNNER", "dokcer")
    with pytest.raises(ValueError, match="'dokcer'; expected one of process, docker, kubernetes"):
        operator(load_settings(), Step("step", ("python",), "data"))


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_makes_an_operator(runner: str) -> None:
    settings = replace(load_settings(), runner=runner)
    created = operator(settings, Step("step", ("python", "-V"), "data"), doc_md="What it does.")
    assert (created.task_id, created.doc_md) == ("step", "What it does.")


def test_a_store_relative_to_the_working_folder_is_rejected(monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(ValueError, match="sqlite:///mlflow.db, relative to the working folder"):
        load_settings()


def test_memory_and_gpu_of_a_stage_s_meta_reach_its_container(monkeypatch: Any) -> None:
    from dags import nightly_retraining as nightly

    stage = replace(nightly.STAGES[0], meta={"image": "train", "memory": "2G", "gpus": 4})
    monkeypatch.setattr(nightly, "SETTINGS", replace(nightly.SETTINGS, runner="docker"))
    container = nightly.stage_task(stage)
    assert container.mem_limit == "2G"
    [request] = container.device_requests
    assert (request["Count"], request["Capabilities"]) == (4, [["gpu"]])
    monkeypatch.setattr(nightly, "SETTINGS", replace(nightly.SETTINGS, runner="kubernetes"))
    limits = nightly.stage_task(stage).container_resources.limits
    assert limits == {"memory": "2G", "nvidia.com/gpu": "4"}
    plain = nightly.stage_task(nightly.STAGES[0])
    assert plain.container_resources.limits == {}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_stage_that_needs_a_gpu_does_not_run_without(runner: str, monkeypatch: Any) -> None:
    from dags import nightly_retraining as nightly

    monkeypatch.setattr(nightly, "SETTINGS", replace(nightly.SETTINGS, runner=runner))
    stage = nightly.STAGES[0]
    demanding = [
        replace(stage, meta=stage.meta | wish) for wish in ({"gpu": True}, {"gpus": 1}, {"gpus": 2})
    ]
    found = [
        getattr(task, "argv", None) or getattr(task, "command", None) or task.cmds
        for task in map(nightly.stage_task, (stage, *demanding))
    ]
    one, two = ([*ON_GPU, n, *stage.argv] for n in "12")
    assert found == [list(stage.argv), one, one, two]
