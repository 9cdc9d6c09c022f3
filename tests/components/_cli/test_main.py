"""The command `longtail`: subcommands, quick help, completion, exit codes, the wheel."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from components._cli.main import COMMANDS, HOME, description, longtail
from tests.builders.paths import ROOT

SCREEN = 40  # lines


def run(*argv: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from components._cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


def test_every_command_is_listed_and_described(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path, COLUMNS="120")
    assert done.returncode == 0 and done.stderr == ""
    for name in COMMANDS:
        assert f"  {name}" in done.stdout
        assert description(name)[:60] in " ".join(done.stdout.split())
    components = {path.stem for path in (ROOT / "components").glob("[!_]*.py")}
    stages = {"validate", "split", "frequencies", "baseline", "train", "thresholds", "report"}
    assert components - stages <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_fits_a_screen(name: str) -> None:
    context = click.Context(longtail)
    command = longtail.get_command(context, name)
    assert command is not None
    commands = [command, *getattr(command, "commands", {}).values()]
    for one in commands:
        text = one.get_help(click.Context(one, parent=context, info_name=one.name))
        assert text.count("\n") < SCREEN
        assert (one.help or "").strip()


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from components._cli.main import longtail\n"
        "longtail.main(['--help'], 'longtail', standalone_mode=False)\n"
        "print(sorted({'torch', 'mlflow', 'pandas', 'sklearn', 'transformers'} & set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["prdict"], 2, "No such command 'prdict'"),
        (["rollback"], 2, "Missing option '--reason'"),
        (["ingest"], 2, "pass a SOURCE"),
        (["ingest", "csv", "gone.csv"], 3, "ingest: gone.csv does not exist"),
        (["history"], 2, "history: No params.yaml in"),
        (["run"], 2, "run: No params.yaml in"),
        (["ingest", "csv", "/dev/null", "--encoding", "base64"], 2, "unknown encoding 'base64'"),
        (["predict", "--threshold", "2"], 2, "predict: --threshold must be between 0 and 1"),
    ],
)
def test_exit_codes(tmp_path: Path, argv: list[str], code: int, message: str) -> None:
    done = run(*argv, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_shell_can_complete_commands(tmp_path: Path) -> None:
    asked = {"_LONGTAIL_COMPLETE": "bash_complete", "COMP_WORDS": "longtail pr", "COMP_CWORD": "1"}
    done = run(cwd=tmp_path, **asked)
    assert done.stdout.split() == ["plain,predict", "plain,promote", "plain,prune"]


def test_a_command_is_the_same_through_python_and_through_longtail() -> None:
    for name, (module, inner) in COMMANDS.items():
        command = importlib.import_module(module).command
        expected = command if inner is None else command.commands[inner]
        assert longtail.get_command(click.Context(longtail), name) is expected


@pytest.mark.slow
def test_a_wheel_claims_no_common_name_and_runs(tmp_path: Path) -> None:
    """In a folder of its own, without access to the checkout."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"longtail", "longtail_pipeline"}
    for path in ("longtail/py.typed", "longtail/report/page/page.css"):
        assert path in names
    assert any(name.startswith("longtail/report/page/templates/") for name in names)
    code = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        "from longtail_pipeline.components._cli.main import main, HOME\n"
        "print(HOME, flush=True); main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
         + code, "ingest", "synthetic", "--docs", "60", "--labels", "9"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "site" / "longtail_pipeline")
    assert "60 documents, 9 labels" in done.stdout
    assert HOME == ROOT
