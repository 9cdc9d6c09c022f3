"""The environment variables that steps need from this one, and which of them may hold a secret."""

from __future__ import annotations

import os
import re

from dags._settings import Settings

# Airflow's own secrets are not among them.
PASSED_ON = ("MLFLOW_", "AWS_", "HF_", "SSL_CERT_", "REQUESTS_CA_", "OMP_", "NCCL_")

SECRET_NAME = re.compile("SECRET|TOKEN|PASS|KEY|CREDENTIAL")
# `user:password@` in an address, or a signature or token in its query.
SECRET_VALUE = re.compile(r"://[^/@\s]+@|[?&][^=&]*(secret|token|pass|key|sig)[^=&]*=", re.I)


def is_secret(name: str, value: str) -> bool:
    """Whether an environment variable may hold a secret, by its name or its value."""
    return bool(SECRET_NAME.search(name) or SECRET_VALUE.search(value))


def passed_on() -> dict[str, str]:
    """What every step gets of this process's environment; may hold secrets."""
    return {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}


def private_environment(settings: Settings) -> dict[str, str]:
    """What a step gets besides what is shown with it; may hold secrets and is never shown."""
    return passed_on() | settings.store
