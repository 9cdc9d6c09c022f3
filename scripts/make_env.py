"""Prints secrets and paths for the compose stack, new each time (`make up` keeps the first)."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

values = {
    "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
    "AIRFLOW_DB_PASSWORD": secrets.token_urlsafe(24),
    "MLFLOW_DB_PASSWORD": secrets.token_urlsafe(24),
    "AIRFLOW_PASSWORD": secrets.token_urlsafe(16),
    "FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "JWT_SECRET": secrets.token_urlsafe(48),
    "API_SECRET": secrets.token_urlsafe(32),
    "LONGTAIL_REPO": str(ROOT),
    "LONGTAIL_HOME": str(ROOT / "build" / "nightly"),
    "DOCKER_SOCKET": "/var/run/docker.sock",
    "LONGTAIL_UID": str(os.getuid() or 10001),
    "DOCKER_GID": str(_gid if (_gid := os.stat("/var/run/docker.sock").st_gid) else 0)
    if os.path.exists("/var/run/docker.sock")
    else "0",
}
print("\n".join(f"{name}={value}" for name, value in values.items()))
