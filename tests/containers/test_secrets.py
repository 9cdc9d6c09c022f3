"""Planted secrets: in no image layer, in no log, in no record that Airflow keeps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import podman
from tests.containers.conftest import PLANTED
from tests.dags.conftest import Nights

pytestmark = pytest.mark.containers


def test_what_the_build_was_told_is_in_no_layer_and_no_log(images: str) -> None:
    assert "localhost/longtail-train:latest" in images and PLANTED not in images
    layers = podman.HOME / "storage"
    assert len([*layers.glob("overlay/*/diff")]) > 10
    words = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", PLANTED, str(layers)]
    found = subprocess.run(words, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, ""), found.stderr[-500:]


def test_a_night_shows_no_secret(nights: Nights, airflow_home: Path, tmp_path: Path) -> None:
    nights.extra = (
        *nights.extra,
        ("AWS_SECRET_ACCESS_KEY", PLANTED),
        ("AIRFLOW_CONN_WEBHOOK", f"http://u:{PLANTED}@host.invalid"),
        ("MLFLOW_TRACKING_URI", f"http://u:{PLANTED}@127.0.0.1:9"),
    )
    states, output = nights("2026-03-05T02:00:00")
    assert states["apply"] == "success", output[-3000:]
    assert PLANTED not in output
    kept = [p for root in (airflow_home, nights.home) for p in root.rglob("*") if p.is_file()]
    assert len(kept) > 10
    assert not [p for p in kept if PLANTED.encode() in p.read_bytes()]
