"""Planted secrets: in no image layer, in no log, in no record that Airflow keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import podman
import pytest

from tests.dags.conftest import ROOT, Nights

sys.path.insert(0, str(ROOT / "docker"))
import images as builder  # noqa: E402

pytestmark = pytest.mark.containers
PLANTED = "planted-7f3a91c2"


def test_pip_settings_leave_no_trace_in_an_image(
    images: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://user:{PLANTED}@index.invalid/simple")
    assert PLANTED in str(builder.pip_settings())
    builder.build("base", "podman")
    archive = tmp_path / "image.tar"
    podman.podman("save", "--output", str(archive), builder.image("base"))
    assert archive.stat().st_size > 50_000_000
    assert PLANTED.encode() not in archive.read_bytes()


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
