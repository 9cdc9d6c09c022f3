"""The assets that other DAGs can follow."""

from __future__ import annotations

from airflow.sdk import Asset

DATA = Asset("longtail-data", uri="longtail://data")
CHAMPION = Asset("longtail-champion", uri="longtail://champion")
