"""What every test runs under: no model hub, no telemetry, an import path of its own."""

import os
import sys

import pytest

pytest_plugins = ["tests.builders.nights_fixtures"]

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(autouse=True)
def import_path():
    """A version loaded in a test leaves its own code on the path; a later test's processes
    would import that `longtail` instead of ours."""
    before = list(sys.path)
    yield
    sys.path[:] = before
