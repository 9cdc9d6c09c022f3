"""Registered versions, a registry per test with copies of them (`registry_bench`), a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright import sync_api

    from tests.builders.registry_bench import Bench

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one workspace per variant, registered in `mlflow.db` in that order."""
    from tests.builders.registry_bench import register_all

    return register_all(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def bench(versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Versions are loaded in this process, and every smoke test passes."""
    from components._registry import contest
    from components._registry import decision as _decision
    from components._registry.smoke import Smoke
    from tests.builders.registry_bench import MEASURED, Bench
    from tests.builders.registry_workspace import InProcess

    monkeypatch.setattr(contest, "Served", InProcess)
    monkeypatch.setattr(_decision, "smoke", lambda *_: Smoke([], MEASURED))
    return Bench(versions, tmp_path, monkeypatch)
