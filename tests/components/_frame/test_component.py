"""The frame of every component: parameters, exit codes, whole outputs, locks."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from components._frame.component import Input, Output, main, paths_of, sections_of
from components._frame.exit_codes import GateNotPassed, TemporaryError
from components._frame.files import locked, written
from components._frame.launch import exit_code, guarded
from components._frame.params import Section, load_params, load_sections
from components.split import Params as SplitParams
from longtail.errors import DataError, ParameterError
from tests.builders.paths import ROOT


class Inner(Section):
    epochs: int = Field(3, ge=1)


class Params(Section):
    rate: float = Field(0.1, gt=0, lt=1)
    inner: Inner = Inner()


def params_file(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str, model: type[Section] = Params) -> str:
    with pytest.raises(ParameterError) as caught:
        load_params("stage", model, params_file(folder, text))
    return str(caught.value)


# Parameters


def test_right_values_replace_the_defaults_and_the_rest_stays(tmp_path: Path) -> None:
    path = params_file(tmp_path, "stage:\n  inner:\n    epochs: 7\n")
    assert load_params("stage", Params, path) == Params(rate=0.1, inner=Inner(epochs=7))


def test_an_empty_section_means_the_defaults(tmp_path: Path) -> None:
    assert load_params("stage", Params, params_file(tmp_path, "stage:\n")) == Params()


def test_all_invalid_values_are_reported_together_by_dotted_name(tmp_path: Path) -> None:
    text = complaint(tmp_path, "stage:\n  rate: 1.5\n  speed: 3\n  inner: {epochs: 0}\n")
    lines = text.splitlines()
    assert lines[0].endswith("params.yaml has 3 invalid value(s):")
    found = {line.split(":")[0].strip(): line for line in lines[1:]}
    assert set(found) == {"stage.rate", "stage.speed", "stage.inner.epochs"}
    assert "less than 1 (got 1.5)" in found["stage.rate"]
    assert "greater than or equal to 1 (got 0)" in found["stage.inner.epochs"]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("stage: {rat: 0.5}", "stage.rat", "Did you mean 'rate'? Valid: inner, rate. (got 0.5)"),
        (
            "stage: {inner: {epoch: 1}}",
            "stage.inner.epoch",
            "Did you mean 'epochs'? Valid: epochs. (got 1)",
        ),
    ],
)
def test_a_misspelled_key_lists_the_valid_ones(
    tmp_path: Path, text: str, name: str, expected: str
) -> None:
    line = complaint(tmp_path, text).splitlines()[1]
    assert line.startswith(f"  {name}: ") and line.endswith(expected)


def test_a_rule_over_several_values_names_its_section(tmp_path: Path) -> None:
    text = complaint(tmp_path, "stage: {fractions: {train: 0.9, val: 0.2, test: 0.2}}", SplitParams)
    assert "stage.fractions: " in text and "train + val + test must be 1, got 1.3" in text


@pytest.mark.parametrize("section", ["[]", "false", "0", "abc"])
def test_a_section_that_is_not_a_mapping_does_not_count_as_empty(
    tmp_path: Path, section: str
) -> None:
    text = complaint(tmp_path, f"stage: {section}")
    assert text.splitlines()[1].startswith("  stage: Input should be a valid dictionary")


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    assert "has no section 'stage'; add it" in complaint(tmp_path, "other: {}\n")


@pytest.mark.parametrize("text", ["", "- stage\n", "just words"])
def test_a_file_without_sections_is_named(tmp_path: Path, text: str) -> None:
    assert "params.yaml has no sections, expected one per stage" in complaint(tmp_path, text)


@pytest.mark.parametrize("content", [b"stage: {rate: 0.5\n", b"stage: {}  # gr\xfc\xdfe\n"])
def test_invalid_yaml_is_a_parameter_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match="params.yaml is not valid YAML in UTF-8"):
        load_params("stage", Params, path)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31))


@pytest.mark.parametrize("text", [BOMB + "stage: {rate: *a30}", "stage: &a [*a]"])
def test_aliases_of_aliases_are_refused_at_once(tmp_path: Path, text: str) -> None:
    assert "over 10,000 values once its aliases" in complaint(tmp_path, text)


def test_without_the_file_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=f"No params.yaml in {tmp_path}; run from"):
        load_params("stage", Params)


# Exit codes


def full_by_errno() -> None:
    with open("/dev/full", "w") as file:
        file.write("x")


def full_by_numpy() -> None:
    """numpy's short write: an OSError without an errno."""
    with open("/dev/full", "wb", buffering=0) as file:
        np.zeros(100_000).tofile(file)


def raising(error: BaseException):
    def action() -> None:
        raise error

    return action


ENDS = {
    "done": (lambda: None, 0),
    "bug": (raising(KeyError("x")), 1),
    "value": (raising(ValueError("x")), 1),
    "other file error": (raising(FileNotFoundError(errno.ENOENT, "x")), 1),
    "parameter": (raising(ParameterError("rate is wrong")), 2),
    "data": (raising(DataError("row 3 is wrong")), 3),
    "gate": (raising(GateNotPassed("no gain")), 4),
    "temporary": (raising(TemporaryError("server away")), 75),
    "disk full": (full_by_errno, 75),
    "disk full in numpy": (full_by_numpy, 75),
    "quota": (raising(OSError(errno.EDQUOT, "x")), 75),
    "disk full in safetensors": (
        raising(RuntimeError("I/O error: No space left on device (os error 28)")),
        75,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    action, code = ENDS[name]
    if code == 1:
        with pytest.raises(Exception) as raised:  # noqa: B017, PT011 - a bug keeps its traceback
            guarded("stage", action)
        assert exit_code(raised.value) == 1 and capsys.readouterr().err == ""
        return
    with pytest.raises(SystemExit) as exited:
        guarded("stage", action)
    assert exited.value.code == code
    printed = capsys.readouterr().err
    assert printed.startswith("stage: ") if code else printed == ""


def test_a_file_replaces_only_a_file_and_a_folder_only_a_folder(tmp_path: Path) -> None:
    """What is not the program's own is left alone, and so is a device."""
    folder, file, pipe = tmp_path / "folder", tmp_path / "file", tmp_path / "pipe"
    folder.mkdir()
    (folder / "own").write_text("own")
    file.write_text("own")
    os.mkfifo(pipe)
    for target, expected in (
        (folder, "is a folder"), (pipe, "is a device or a pipe"),
        (file / "x" / "y", f"since {file} is a file"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=expected), written(target) as temporary:
            temporary.write_text("new")
    with pytest.raises(DataError, match="is a file, expected a folder"), written(file) as temporary:
        temporary.mkdir()
    assert file.read_text() == (folder / "own").read_text() == "own"
    assert pipe.is_fifo() and len(list(tmp_path.iterdir())) == 3


def test_a_link_is_replaced_and_what_it_points_to_left_alone(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "own").write_text("own")
    for name, target in (("file", "outside/own"), ("folder", "outside")):
        (tmp_path / name).symlink_to(target)
        with written(tmp_path / name) as temporary:
            if name == "file":
                temporary.write_text("new")
            else:
                temporary.mkdir()
        assert not (tmp_path / name).is_symlink()
    assert (tmp_path / "outside" / "own").read_text() == "own"


def test_a_full_disk_has_no_errno_in_numpy() -> None:
    """Why `exit_code` also looks at the message."""
    with pytest.raises(OSError, match="requested and .* written") as caught:
        full_by_numpy()
    assert caught.value.errno is None


STAGE = """'''A stage.'''
from pathlib import Path
from components._frame.component import Input, Output, main
from components._frame.files import written
from components._frame.params import Section

class Params(Section):
    fail: str = ""

def run(*, corpus: Input, result_file: Output, params: Params) -> str:
    with written(result_file) as path:
        path.write_text(corpus.read_text() + params.fail)
        if params.fail:
            raise ZeroDivisionError(params.fail)
    return "3 words copied"

if __name__ == "__main__":
    main(run)
"""


def stage(
    folder: Path, params: str, *flags: str, source: str = STAGE
) -> subprocess.CompletedProcess[str]:
    """Run a toy stage as a real process."""
    (folder / "toy.py").write_text(source, encoding="utf-8")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "toy.py", *flags],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


FLAGS = ("--corpus", "in.txt", "--result-file", "out/result.txt")


def test_a_finished_stage_leaves_only_its_output(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("words")
    done = stage(tmp_path, "toy: {}", *FLAGS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "toy: 3 words copied\n", "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.txt"]
    assert (tmp_path / "out" / "result.txt").read_text() == "words"


FOLDER_STAGE = STAGE.replace("result_file", "result").replace(
    "path.write_text", "path.mkdir(); (path / 'new.txt').write_text"
)
DECLARED = """stages:
  toy:
    desc: a toy
    cmd: python toy.py
    outs: [out/model]
    meta: {image: data}
"""


@pytest.mark.parametrize("declared", [True, False])
def test_a_folder_of_ones_own_is_not_replaced_and_that_of_an_earlier_run_is(
    declared: bool, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_text("words")
    (tmp_path / "dvc.yaml").write_text(DECLARED if declared else "stages: {}")
    (tmp_path / "out" / "model").mkdir(parents=True)
    flags = ("--corpus", "in.txt", "--result", str(tmp_path / "out" / "model"))
    assert stage(tmp_path, "toy: {}", *flags, source=FOLDER_STAGE).returncode == 0  # an empty one
    (tmp_path / "out" / "model" / "mine.txt").write_text("letters")
    done = stage(tmp_path, "toy: {}", *flags, source=FOLDER_STAGE)
    left = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    if declared:
        assert (done.returncode, left) == (0, {"new.txt"})
    else:
        assert (done.returncode, left) == (3, {"new.txt", "mine.txt"})
        assert "model is a folder with files, and dvc.yaml does not name it" in done.stderr


def test_links_lead_neither_around_the_check_nor_into_it(tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project, other):
        (folder / "out" / "model").mkdir(parents=True)
        (folder / "out" / "model" / "old.txt").write_text("letters")
    (project / "in.txt").write_text("words")
    (project / "dvc.yaml").write_text(DECLARED)
    (project / "link").symlink_to(other / "out")
    (tmp_path / "also").symlink_to(project)

    def result(path: Path | str) -> int:
        flags = ("--corpus", "in.txt", "--result", str(path))
        return stage(project, "toy: {}", *flags, source=FOLDER_STAGE).returncode

    assert result("link/../out/model") == 3
    assert (other / "out" / "model" / "old.txt").exists()
    assert result(tmp_path / "also" / "out" / "model") == 0
    assert not (project / "out" / "model" / "old.txt").exists()
    assert result("out/" + "x" * 300) == 3


@pytest.mark.parametrize(("first", "second"), [("out/a", "./out/a"), ("out/a", "out/a/b")])
def test_no_output_replaces_another(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "in.txt").write_text("words")
    source = STAGE.replace("result_file: Output,", "result_file: Output, other: Output,")
    assert source != STAGE
    flags = ("--corpus", "in.txt", "--result-file", first, "--other", second)
    done = stage(tmp_path, "toy: {}", *flags, source=source)
    assert done.returncode == 3 and "one would replace the other" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_input_is_one_sentence_and_nothing_is_written(tmp_path: Path) -> None:
    done = stage(tmp_path, "toy: {}", *FLAGS)
    assert done.returncode == 3
    assert done.stderr == (
        "toy: --corpus: in.txt does not exist; run `dvc repro`, which creates all inputs.\n"
    )
    assert not (tmp_path / "out").exists()


def test_wrong_parameters_and_missing_flags_exit_with_2_without_a_traceback(tmp_path: Path) -> None:
    wrong = stage(tmp_path, "toy: {fail: [1], fial: x}", *FLAGS)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
    assert "toy.fail: " in wrong.stderr and "toy.fial: " in wrong.stderr
    usage = stage(tmp_path, "toy: {}", "--corpus", "in.txt")
    assert usage.returncode == 2
    assert "Missing option '--result-file'" in usage.stderr


def test_only_a_bug_shows_a_traceback_and_the_old_output_stays(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("new")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.txt").write_text("old")
    done = stage(tmp_path, "toy: {fail: boom}", *FLAGS)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError: boom" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.txt"]
    assert (tmp_path / "out" / "result.txt").read_text() == "old"


def test_another_section_is_read_by_the_name_of_its_argument() -> None:
    def run(*, corpus: Input, model: Output, params: Params, inner: Inner) -> str: ...

    assert sections_of(run) == {"params": ("test_component", Params), "inner": ("inner", Inner)}


def test_errors_of_all_sections_are_reported_together(tmp_path: Path) -> None:
    path = params_file(tmp_path, "stage: {rate: 0.5}\nother: {epochs: 7}\n")
    wanted = {"params": ("stage", Params), "other": ("other", Inner)}
    assert load_sections(wanted, path) == {"params": Params(rate=0.5), "other": Inner(epochs=7)}
    params_file(tmp_path, "stage: {rate: 5}\nother: {epochs: 0}\n")
    with pytest.raises(ParameterError) as caught:
        load_sections(wanted, path)
    assert "stage.rate: " in str(caught.value) and "other.epochs: " in str(caught.value)
    path.unlink()
    with pytest.raises(ParameterError) as caught:
        load_sections(wanted, path)
    assert str(caught.value).count("params.yaml") == 1, "the same error is reported once"


def test_paths_of_tells_inputs_from_outputs() -> None:
    def run(*, corpus: Input, model: Output, val_scores: Output, params: Params) -> str: ...

    assert paths_of(run, "input") == ["corpus"]
    assert paths_of(run, "output") == ["model", "val_scores"]


def test_main_hands_over_paths_and_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(*, corpus: Input, result_file: Output, params: Params) -> str:
        seen.update(corpus=corpus, result_file=result_file, params=params)
        return ""

    monkeypatch.chdir(tmp_path)
    params_file(tmp_path, "test_component: {rate: 0.25}")
    (tmp_path / "in.txt").touch()
    with pytest.raises(SystemExit) as exited:
        main(run, list(FLAGS))
    assert exited.value.code == 0
    assert seen == {
        "corpus": Path("in.txt"),
        "result_file": Path("out/result.txt"),
        "params": Params(rate=0.25),
    }


# Outputs


def test_written_replaces_a_file_only_on_success(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.json"
    with written(path) as temporary:
        temporary.write_text("one")
        assert temporary != path and not path.exists()
    assert path.read_text() == "one"
    with pytest.raises(RuntimeError, match="half"), written(path) as temporary:
        temporary.write_text("two")
        raise RuntimeError("half-written")
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_written_replaces_a_folder_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("old", "new"):
        with written(path) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [child.name for child in path.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), written(path) as temporary:
        temporary.mkdir()
        (temporary / "half").touch()
        raise RuntimeError
    assert [child.name for child in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_written_keeps_the_old_file_if_the_block_wrote_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), written(path):
        pass
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# Locks

HOLDER = """
import sys, time, json
from pathlib import Path
from components._frame.files import locked
folder, name = Path(sys.argv[1]), sys.argv[2]
with locked(folder):
    start = time.monotonic()
    print("inside", flush=True)
    if name == "first":
        sys.stdin.readline()
    print(json.dumps([start, time.monotonic()]), flush=True)
"""


def holder(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_a_second_process_waits_until_the_first_ends(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with holder(folder, "first") as first, holder_after(first, folder) as second:
        assert second.stderr is not None and first.stdout is not None
        assert second.stderr.readline() == (f"{folder}: another run is writing here; waiting.\n")
        answer, _ = first.communicate("go\n", timeout=60)
        ended = json.loads(answer.splitlines()[-1])[1]
        output, _ = second.communicate(timeout=60)
        started = json.loads(output.splitlines()[-1])[0]
    assert started > ended
    assert (first.returncode, second.returncode) == (0, 0)


def holder_after(first: subprocess.Popen[str], folder: Path) -> subprocess.Popen[str]:
    assert first.stdout is not None and first.stdout.readline() == "inside\n"
    return holder(folder, "second")


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    with holder(tmp_path, "first") as first:
        assert first.stdout is not None and first.stdout.readline() == "inside\n"
        first.kill()
    with locked(tmp_path):  # waits forever if the kernel kept the dead process's lock
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_one_that_nfs_passes_on(tmp_path: Path) -> None:
    """It is on a regular file opened for writing; only such locks reach other machines."""
    with locked(tmp_path):
        lock = f":{(tmp_path / '.lock').stat().st_ino} "  # other code may hold locks, too
        [held] = [
            info
            for info in Path("/proc/self/fdinfo").iterdir()
            if re.search(f"lock:.*{lock}", info.read_text() if info.exists() else "")
        ]
        file = Path("/proc/self/fd", held.name).resolve()
        flags = int(re.search(r"flags:\s+(\d+)", held.read_text())[1], 8)
    assert file == tmp_path / ".lock" and flags & os.O_ACCMODE == os.O_RDWR


def test_many_processes_never_hold_it_together(tmp_path: Path) -> None:
    """The file is removed with every release, and one who waited for a removed file has no lock."""
    code = """
import os, sys, time
from pathlib import Path
from components._frame.files import locked
for _ in range(100):
    with locked(Path(sys.argv[1])):
        os.close(os.open(sys.argv[1] + ".held", os.O_CREAT | os.O_EXCL))
        time.sleep(0.002)
        os.unlink(sys.argv[1] + ".held")
"""
    argv = [sys.executable, "-c", code, str(tmp_path / "out")]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, errors
