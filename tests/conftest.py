"""What every test runs under: no model hub, no telemetry, an import path of its own."""

import os
import sys
from pathlib import Path

import pytest

pytest_plugins = ["tests.builders.nights_fixtures"]

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "numba"))
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the longest time limits first: begun last, one of them would run alone."""
    limits: dict[object, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        limits[item.path] = max(limits.get(item.path, 0), marker.args[0] if marker else 0)
    items.sort(key=lambda item: -limits[item.path])


@pytest.fixture(autouse=True)
def import_path():
    """A version loaded in a test leaves its own code on the path; a later test's processes
    would import that `longtail` instead of ours."""
    before = list(sys.path)
    yield
    sys.path[:] = before
