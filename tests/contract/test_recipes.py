"""The recipes of CONTRIBUTING.md, each carried out in a copy of the project.

With every place changed the checks are green; with any one place forgotten they are red.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders.paths import ROOT

ROOMS = ("longtail", "components", "dags", "scripts", "tests", "docker", "docs/files.md")
FILES = ("dvc.yaml", "params.yaml", "pyproject.toml", "README.md", "CONTRIBUTING.md")
REGISTRIES, TABLE = "tests/contract/test_registries.py", "tests/contract/test_table.py"


@dataclass(frozen=True)
class Place:
    """One thing to write: `text` before the first `anchor` of `file`; no anchor: a new file."""

    file: str
    text: str
    anchor: str = ""

    def write(self, root: Path) -> None:
        path = root / self.file
        if not self.anchor:
            path.write_text(self.text, encoding="utf-8")
            return
        before = path.read_text(encoding="utf-8")
        assert self.anchor in before, f"{self.file}: no {self.anchor!r}"
        path.write_text(before.replace(self.anchor, self.text + self.anchor, 1), encoding="utf-8")


@dataclass(frozen=True)
class Recipe:
    """The places in their order, and the tests that tell when one is forgotten."""

    places: tuple[Place, ...]
    checks: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """The files to touch, each once."""
        return list(dict.fromkeys(place.file for place in self.places))


LOSSES, SLICES = "longtail/losses/__init__.py", "longtail/evaluation/slices.py"
GATE_TEST = "tests/longtail/gate/test_rules.py"
RULES, GATE = "longtail/validation/rules.py", "longtail/gate/rules.py"
PARITY = """def _parity(evaluation: Evaluation) -> list[Slice]:
    even = np.arange(evaluation.targets.shape[{axis}]) % 2 == 0
    return [Slice("parity", "even", "{of}", even), Slice("parity", "odd", "{of}", ~even)]


"""


def slice_recipe(of: str, axis: int) -> Recipe:
    return Recipe(
        (
            Place(SLICES, PARITY.format(of=of, axis=axis), "SLICES: dict"),
            Place(SLICES, '    "parity": _parity,\n', '    "zero": _zero,'),
            Place(
                "tests/longtail/evaluation/test_slices.py",
                '        "parity",\n',
                '        "labels_per_document",',
            ),
        ),
        (REGISTRIES, "tests/longtail/evaluation/test_slices.py"),
    )


RECIPES = {
    "a loss": Recipe(
        (
            Place(
                LOSSES,
                'def plain(freq: Frequencies) -> nn.Module:\n    """BCE."""\n'
                "    return SigmoidLoss(gamma=0)\n\n\n",
                "LOSSES: dict",
            ),
            Place(LOSSES, '    "plain": plain,\n', '    "bce": bce,'),
            Place("tests/longtail/losses/test_losses.py", '    "plain": {},\n', '    "focal": {"g'),
        ),
        (REGISTRIES, "tests/longtail/losses/test_losses.py"),
    ),
    "a document slice": slice_recipe("documents", 0),
    "a label slice": slice_recipe("labels", 1),
    "a source format": Recipe(
        (
            Place(
                "components/_sources/pair_files.py",
                '"""Pairs of lines."""\n\n'
                "from components._sources.csv_files import read_csv\n"
                "from components._sources.source import file_source\n\n"
                'PAIRS = file_source("pairs of lines", read_csv)\n',
            ),
            Place(
                "components/ingest.py",
                "from components._sources.pair_files import PAIRS\n",
                "from components._sources.parquet_files import",
            ),
            Place("components/ingest.py", '    "pairs": PAIRS,\n', '    "onehot": ONEHOT,'),
            Place(
                "tests/components/_sources/test_file_formats.py",
                'READ = {"pairs": read_csv} | READ\n',
                "FILES = ",
            ),
        ),
        (REGISTRIES, "tests/components/_sources/test_file_formats.py"),
    ),
    "a validation rule": Recipe(
        (
            Place(
                RULES,
                "def _shouting(view: CorpusView) -> Flags:\n"
                "    return np.array([text.isupper() for text in view.texts], dtype=bool)\n\n\n",
                "RULES: dict",
            ),
            Place(
                RULES,
                '    "shouting": Rule("texts", "the text is in capitals", _shouting),\n',
                '    "mojibake": Rule(',
            ),
            Place("params.yaml", "      shouting: warn  # in capitals\n", "      mojibake: warn"),
            Place(
                "tests/longtail/validation/test_rules.py",
                '    "shouting": _cell("text", lambda v, k: v.upper()),\n',
                '    "mojibake": _cell(',
            ),
        ),
        (REGISTRIES, TABLE, "tests/longtail/validation/test_rules.py::test_every_rule_has_a_fault"),
    ),
    "a promotion rule": Recipe(
        (
            Place(GATE, "    most_labels: int\n", "    confidence: float\n"),
            Place(
                GATE,
                "def few_labels(contest: Contest, rules: Rules) -> list[Line]:\n"
                '    """Not more labels than the rules allow."""\n'
                "    few = len(contest.labels) <= rules.most_labels\n"
                '    return [] if few else [Line("few_labels", FAILED, "")]\n\n\n',
                "RULES: dict",
            ),
            Place(GATE, '    "few_labels": few_labels,\n', '    "floor": floors,'),
            Place(
                "components/_registry/rules.py",
                '    most_labels: int = Field(ge=1, description="labels, at most")\n',
                "    error_budget: ErrorBudget\n",
            ),
            Place(
                "params.yaml",
                "  most_labels: 99999       # labels at most\n",
                "  min_shared_labels",
            ),
            Place(GATE_TEST, "    most_labels=9,\n", "    confidence=0.95,"),
        ),
        (REGISTRIES, TABLE, GATE_TEST),
    ),
    "a stage": Recipe(
        (
            Place(
                "components/words.py",
                '"""Count the words."""\n\n'
                "from __future__ import annotations\n\n"
                "from components._frame.component import Input, Output, main\n"
                "from components._frame.files import written\n"
                "from components._frame.params import Section\n\n\n"
                "class Params(Section):\n"
                '    """None."""\n\n\n'
                "def run(*, corpus: Input, words: Output, params: Params) -> str:\n"
                "    with written(words) as path:\n"
                '        path.write_text("{}")\n'
                '    return "0 words"\n\n\n'
                'if __name__ == "__main__":\n    main(run)\n',
            ),
            Place(
                "dvc.yaml",
                "  words:\n    desc: >-\n      Count the words.\n"
                "    cmd: >-\n      python -m components.words\n"
                "      --corpus artifacts/validate/corpus.parquet\n"
                "      --words artifacts/words/words.json\n"
                "    deps:\n      - artifacts/validate/corpus.parquet\n@DEPS@"
                "    params:\n      - words\n"
                "    outs:\n      - artifacts/words/words.json\n"
                "    meta:\n      image: data\n      minutes: 15\n",
                "  split:\n",
            ),
            Place("params.yaml", "words: {}\n\n", "split:\n"),
        ),
        (TABLE, "tests/contract/test_code_deps.py"),
    ),
}
IN_GATE = ("a stage", "a loss")
DEPS = "".join(
    f"      - {path}\n"
    for path in (
        "components/__init__.py",
        "components/_frame/__init__.py",
        "components/_frame/component.py",
        "components/_frame/exit_codes.py",
        "components/_frame/files.py",
        "components/_frame/launch.py",
        "components/_frame/params.py",
        "components/_frame/pipeline.py",
        "components/_frame/ranks.py",
        "components/_frame/usage.py",
        "components/words.py",
        "longtail/__init__.py",
        "longtail/errors.py",
    )
)


def copied(folder: Path) -> Path:
    for name in ROOMS:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "toy_project")
            shutil.copytree(source, target, ignore=ignored)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    (folder / "tests/builders/toy_project").mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=folder, check=True
    )
    return folder


# Loading the libraries takes longer than most checks, so each copy's pytest is a fork of a process
# that has loaded them, but nothing of the project.
PYTEST = """
import json, os, sys
import captum.attr, hypothesis, mlflow.pyfunc, pandas, pytest, scipy.stats, torch, transformers

for root in sys.argv[2:]:
    if not os.fork():
        break
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
else:
    sys.exit()
os.chdir(root)
os.environ["PYTHONPATH"] = root
said = os.open("said.txt", os.O_WRONLY | os.O_CREAT)
os.dup2(said, 1), os.dup2(said, 2)
code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *json.loads(sys.argv[1])])
sys.stdout.flush()
os._exit(code)
"""


def outcomes(roots: list[Path], checks: tuple[str, ...]) -> list[tuple[int, str]]:
    """What pytest ends with in each copy of the project, and what it says."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("LONGTAIL_", "PYTEST_"))}
    own.pop("PYTHONPATH", None)  # the working folder comes first: a fork's is its copy
    done = subprocess.run(
        [sys.executable, "-c", PYTEST, json.dumps(checks), *map(str, roots)],
        cwd=roots[0].parent,
        env=own | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    codes = map(int, done.stdout.split())
    return [(code, (root / "said.txt").read_text(encoding="utf-8"))
            for code, root in zip(codes, roots, strict=True)]  # fmt: skip


def carried_out(recipe: Recipe, root: Path, without: Place | None) -> Path:
    copied(root)
    for place in recipe.places:
        if place is not without:
            filled = Place(place.file, place.text.replace("@DEPS@", DEPS), place.anchor)
            filled.write(root)
    return root


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in IN_GATE else [pytest.mark.beyond_gate])
        for name in RECIPES
    ],
)
def test_a_forgotten_place_turns_a_test_red(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    roots = [carried_out(recipe, tmp_path / str(number), without)
             for number, without in enumerate([None, *recipe.places])]  # fmt: skip
    (code, said), *forgotten = outcomes(roots, recipe.checks)
    assert code == 0, said[-5000:]
    for place, (code, said) in zip(recipe.places, forgotten, strict=True):
        assert code != 0, f"nothing told that {place.file} was forgotten:\n{said[-3000:]}"
    for root in roots:
        shutil.rmtree(root)


def test_contributing_names_the_files_of_each_recipe_in_their_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (an? [\w ]+?) \| (.+?) \|", text, re.M))
    named = {name: re.findall(r"`([\w./]+\.\w+)`", rows.get(name, "")) for name in RECIPES}
    expected = {
        name: [
            file.replace("words.py", "NAME.py").replace("pair_files", "NAME") for file in r.files
        ]
        for name, r in RECIPES.items()
    }
    assert named == expected
