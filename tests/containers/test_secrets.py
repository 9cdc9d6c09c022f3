"""Planted secrets: in no image layer, in no log, in no record that Airflow keeps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import podman
from tests.builders.nights import Nights

pytestmark = pytest.mark.containers


def test_a_build_s_secrets_are_in_no_layer_and_no_log(images: str, planted: str) -> None:
    assert "localhost/longtail-train:latest" in images and planted not in images
    layers = podman.HOME / "storage"
    assert len([*layers.glob("overlay/*/diff")]) > 10
    argv = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", planted, str(layers)]
    found = subprocess.run(argv, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, ""), found.stderr[-500:]


def test_a_night_shows_no_secret(nights: Nights, airflow_home: Path, planted: str) -> None:
    nights.extra = (
        *nights.extra,
        ("AWS_SECRET_ACCESS_KEY", planted),
        ("AIRFLOW_CONN_WEBHOOK", f"http://u:{planted}@host.invalid"),
        ("MLFLOW_TRACKING_URI", f"http://u:{planted}@127.0.0.1:9"),
    )
    states, output = nights("2026-03-05T02:00:00")
    assert states["apply"] == "success", output[-3000:]
    assert planted not in output
    kept = [p for root in (airflow_home, nights.home) for p in root.rglob("*") if p.is_file()]
    assert len(kept) > 10
    assert not [p for p in kept if planted.encode() in p.read_bytes()]
