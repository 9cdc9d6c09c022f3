"""The MLflow registry: connection, versions by key and alias, the lock, and the history.

The history is stored in numbered tags of the registered model, one per entry, never rewritten.
MLflow sets aliases unconditionally, so whoever moves one holds `exclusive` and reads the alias
afterwards; the lock works between processes that share the file system of its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field

from components._frame.exit_codes import GateNotPassed, TemporaryError
from components._frame.files import locked
from components._frame.params import PARAMS_FILE, Section, load_params
from components._frame.scratch import cache_folder
from components._registry.address import SQLITE, ask_database, check_address, separate_password
from components._registry.moved import follow
from components._registry.outage import explained, told
from longtail.errors import DataError, ParameterError

DEFAULTS = {
    "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
for _name, _value in DEFAULTS.items():
    if not os.environ.get(_name, "").strip():
        os.environ[_name] = _value
separate_password()
warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")

import mlflow  # noqa: E402 - reads the variables above on import
from mlflow.entities.model_registry import ModelVersion, RegisteredModel  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.utils.credentials import get_default_host_creds  # noqa: E402
from mlflow.utils.rest_utils import http_request  # noqa: E402

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous_champion"
KEY = "key"
RUNTIME = "runtime"
FILES = "files_digest"
ROLLED_BACK = "rolled_back"
HOLD = "hold"
REQUIRED_TAGS = (
    KEY,
    "data_md5",
    "data_revision",
    "git_commit",
    "split_id",
    "train_ids_digest",
    "image_digest",
    "logical_date",
    "params_hash",
    RUNTIME,
    FILES,
)
HISTORY = "history."
# Columns of MLflow's store: tags of a registered model and descriptions. PostgreSQL is strict.
MOST_TEXT = 5000
MOST_REASON = 1000
MOST_DIGITS = 9
PROBE_SECONDS = 10
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

T = TypeVar("T")


def _plain(name: str) -> str:
    """Refuse what a model's URI, MLflow's search, or a path would read as something else."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError("expected letters, digits, and . _ - (no blank, quote, slash, or colon)")
    return name


def _one_line(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("expected a name of one line that is not blank")
    return name


class RegisterParams(Section):
    """Parameters of `register`; all other commands read the model's name from them."""

    model_name: Annotated[str, AfterValidator(_plain)] = Field(
        max_length=256, description="name of the registered model: letters, digits, and . _ -"
    )
    experiment: Annotated[str, AfterValidator(_one_line)] = Field(
        max_length=256, description="MLflow experiment of the runs"
    )
    sample: int = Field(
        ge=1, le=1000, description="test documents kept with each version, to check it later"
    )
    runtime: Literal["onnx", "onnx_int8", "pytorch"] = Field(
        description="what serves the version; int8 is faster, its scores differ slightly"
    )


def model_name() -> str:
    """The name of the registered model in `params.yaml`."""
    return load_params("register", RegisterParams).model_name


def champion_uri() -> str:
    """The URI of the champion."""
    return f"models:/{model_name()}@{CHAMPION}"


def connect() -> mlflow.MlflowClient:
    """A client of the tracking server that `MLFLOW_TRACKING_URI` names.

    Raises:
        TemporaryError: the server does not answer within a few seconds.
        ParameterError: it, or a proxy, refuses the request; the address is none.
    """
    uri = os.environ["MLFLOW_TRACKING_URI"]
    check_address(uri)
    if uri.startswith(SQLITE):
        follow(Path(uri.removeprefix(SQLITE)))
    mlflow.set_tracking_uri(uri)
    with reachable():
        if uri.startswith(("http://", "https://")):
            _probe(uri)
        elif not uri.startswith(SQLITE):
            ask_database(uri, PROBE_SECONDS)
        return mlflow.MlflowClient()


def _probe(uri: str) -> None:
    """Ask once, by the way that all requests take (proxy, credentials, certificates)."""
    creds = get_default_host_creds(uri)
    answer = http_request(
        creds, "/health", "GET", max_retries=0, timeout=PROBE_SECONDS, raise_on_status=False
    )
    if answer.status_code != 404:  # a server without this page is a server
        answer.raise_for_status()


@contextmanager
def reachable() -> Iterator[None]:
    """Turn an outage into a TemporaryError, and a refused request into a ParameterError."""
    try:
        yield
    except (TemporaryError, GateNotPassed, DataError, ParameterError):
        raise
    except Exception as error:  # MLflow wraps most errors of its transport, but not all
        better = explained(told(error))
        if better is None:
            raise
        raise better from None


def connect_anywhere(name: str | None) -> tuple[mlflow.MlflowClient, str]:
    """A client, and the model's name: as given, as in `params.yaml`, or the registry's only one.

    Raises:
        ParameterError: outside a project, and no registry is named, or it has no or several models.
    """
    uri = os.environ["MLFLOW_TRACKING_URI"]
    nowhere = uri == DEFAULTS["MLFLOW_TRACKING_URI"] and not Path(uri.removeprefix(SQLITE)).exists()
    if nowhere and not PARAMS_FILE.exists():
        raise ParameterError(
            f"No {PARAMS_FILE} in {Path.cwd()}, and no MLFLOW_TRACKING_URI; run from the project's "
            "root folder, or say where the registry is."
        )
    client = connect()
    if name or PARAMS_FILE.exists():
        return client, name or model_name()
    with reachable():
        found = [str(model.name) for model in client.search_registered_models()]
    if len(found) != 1:
        known = ", ".join(sorted(found)) or "no model"
        raise ParameterError(f"The registry has {known}; say with --model which one is meant.")
    return client, found[0]


def or_none(call: Callable[[], T]) -> T | None:
    """What `call` returns; None if what it asks for does not exist."""
    try:
        return call()
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def number(version: ModelVersion | None) -> str | None:
    """The version's number as a string (some stores return an int); None without a version."""
    return None if version is None else str(version.version)


def by_alias(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that the alias points to; None if the alias is not set."""
    return or_none(lambda: client.get_model_version_by_alias(name, alias))


def by_number(client: mlflow.MlflowClient, name: str, version: str) -> ModelVersion | None:
    """The version with that number; None if it never existed or was deleted."""
    if len(version) > MOST_DIGITS:  # more than a database's integer holds
        return None
    return or_none(lambda: client.get_model_version(name, version))


def by_model(client: mlflow.MlflowClient, name: str) -> RegisteredModel | None:
    """The registered model; None before its first version."""
    return or_none(lambda: client.get_registered_model(name))


def versions(client: mlflow.MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of the model, oldest first."""
    found = client.search_model_versions(f"name = '{name}'")
    return sorted(found, key=lambda version: int(version.version))


def with_key(client: mlflow.MlflowClient, name: str, key: str) -> list[ModelVersion]:
    """The usable versions made from this data, code and parameters, oldest first."""
    return [
        version
        for version in versions(client, name)
        if version.tags.get(KEY) == key and version.status == "READY"
    ]


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock of the registered model `name`, shared by all processes on this machine."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith(SQLITE):  # one lock per file, however its path is written
        uri = SQLITE + str(Path(uri.removeprefix(SQLITE)).resolve())
    digest = hashlib.sha256(json.dumps([uri, name]).encode()).hexdigest()[:16]
    with locked(cache_folder() / "locks" / digest):
        yield


def move_alias(client: mlflow.MlflowClient, name: str, alias: str, version: str | None) -> None:
    """Point `alias` at `version` (None removes it), then read it again.

    Raises:
        TemporaryError: another client moved it at the same moment.
    """
    if version is None:
        or_none(lambda: client.delete_registered_model_alias(name, alias))
    else:
        client.set_registered_model_alias(name, alias, version)
    found = by_alias(client, name, alias)
    if number(found) != version:
        raise TemporaryError(
            f"The alias {alias!r} should point to version {version}, but points to "
            f"{number(found)}: another client moved it. Run `longtail promote decide`."
        )


def shortened(text: str, length: int) -> str:
    """The text, cut to `length` characters."""
    return text if len(text) <= length else text[: length - 2].rstrip() + " …"


def history(client: mlflow.MlflowClient, name: str) -> list[dict[str, Any]]:
    """The entries of the history, oldest first."""
    model = by_model(client, name)
    tags: Mapping[str, str] = model.tags if model else {}
    numbered = sorted(key for key in tags if key.startswith(HISTORY))
    return [json.loads(tags[key]) for key in numbered]


def held(client: mlflow.MlflowClient, name: str) -> dict[str, Any] | None:
    """Why, by whom, and since when promotion is held; None if it is not."""
    model = by_model(client, name)
    text = model.tags.get(HOLD) if model else None
    return None if text is None else dict(json.loads(text))


def append_history(client: mlflow.MlflowClient, name: str, entry: Mapping[str, Any]) -> None:
    """Add an entry with the next free number; the caller holds the lock."""
    tags = client.get_registered_model(name).tags
    last = max(
        (int(tag.removeprefix(HISTORY)) for tag in tags if tag.startswith(HISTORY)), default=0
    )
    tag = f"{HISTORY}{last + 1:06d}"
    client.set_registered_model_tag(name, tag, json.dumps(entry, ensure_ascii=False))
