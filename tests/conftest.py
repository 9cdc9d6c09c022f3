"""What every test runs under: no model hub, no telemetry, an import path of its own."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest_plugins = ["tests.builders.nights_fixtures"]

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "numba"))
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Users' Python writes bytecode, also where it could be in the way.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gate", action="store_true", help="leave out what is marked beyond_gate")


@pytest.hookimpl(trylast=True)  # of the tests that will run
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first: begun last, one of them would run alone.

    A file counts a minute per test, or its longest time limit if that is more.
    """
    if config.getoption("--gate"):
        left_out = [item for item in items if item.get_closest_marker("beyond_gate")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    seconds = {path: 60 * n for path, n in Counter(item.path for item in items).items()}
    for item in items:
        for marker in item.iter_markers("timeout"):
            seconds[item.path] = max(seconds[item.path], marker.args[0])
    items.sort(key=lambda item: -seconds[item.path])


@pytest.fixture(autouse=True)
def import_path():
    """A version loaded in a test leaves its own code on the path; a later test's processes
    would import that `longtail` instead of ours."""
    before = list(sys.path)
    yield
    sys.path[:] = before
