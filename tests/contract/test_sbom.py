"""The bill of materials of an image, here of the environment that the tests run in."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest

from tests.builders.paths import ROOT

RELEASE = {"ID": "debian", "VERSION_ID": "12"}


@pytest.fixture
def sbom(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which finds its neighbors in its own folder."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("sbom")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="the images are Debian's; this is not")
def test_everything_that_is_installed_is_in_the_bill(sbom: ModuleType) -> None:
    argv = [sys.executable, "-c", sbom.INVENTORY]
    found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    made: dict[str, Any] = sbom.bill("localhost/longtail-data:latest", "sha256:1", found)
    addresses = {part["purl"]: part for part in made["components"]}
    assert len(addresses) == len(made["components"]) > 300
    numpy = addresses[f"pkg:pypi/numpy@{version('numpy')}"]
    assert "BSD-3-Clause" in numpy["licenses"][0]["expression"]
    mlflow = addresses[f"pkg:pypi/mlflow@{version('mlflow')}"]
    assert mlflow["licenses"] == [{"license": {"name": "Apache Software License"}}]
    assert any(address.startswith("pkg:deb/") and "/libc6@" in address for address in addresses)
    assert made["metadata"]["component"] == {
        "type": "container",
        "name": "localhost/longtail-data:latest",
        "version": "sha256:1",
    }


def test_addresses_are_those_of_the_package_url_standard(sbom: ModuleType) -> None:
    found = {"name": "Dot_Name", "version": "2.13.0+cpu", "expression": None, "classifiers": []}
    assert sbom.python_package(found)["purl"] == "pkg:pypi/dot-name@2.13.0%2Bcpu"
    debian = sbom.debian_package("g++-12 4:12.2.0-14+deb12u1 amd64", RELEASE)
    assert debian["purl"] == (
        "pkg:deb/debian/g%2B%2B-12@4:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
    )
