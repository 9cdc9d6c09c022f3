"""Checks the address of the registry before anything asks it, without showing its password."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from longtail.errors import ParameterError

VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
SERVERS, DATABASES = ("http", "https"), ("postgresql", "mysql", "mssql")
EXPECTED = "expected http://HOST:PORT, https://HOST, sqlite:///FILE, or postgresql+psycopg2://USER@HOST/NAME"
QUOTED = "a / ? # or @ in the password is written %2F %3F %23 %40"


def separate_password() -> None:
    """Move user and password from the server's address to MLflow's own variables.

    So no message, address, or link of any library can show them. Those variables win if they are
    set already.
    """
    try:
        address = urlsplit(os.environ.get(VARIABLE, ""))
    except ValueError:  # `check_address` says so
        return
    user, at, host = address.netloc.rpartition("@")
    if not at or address.scheme not in SERVERS:
        return
    name, _, password = user.partition(":")
    os.environ[VARIABLE] = address._replace(netloc=host).geturl()
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(name))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(password))


def where() -> str:
    """Host and port of the tracking server, for messages."""
    address = os.environ.get(VARIABLE, "").partition("://")[2].partition("/")[0]
    return address.rpartition("@")[2] or "the local store"


def check_address(uri: str) -> None:
    """Refuse an address that MLflow would end a stack trace with, or retry for minutes.

    Raises:
        ParameterError: a scheme, host, port, file, or driver that is none.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in SERVERS:
        _check_server(uri)
    elif scheme == "sqlite":
        _check_file(uri)
    elif scheme in DATABASES:
        _check_database(uri)
    elif scheme != "databricks":
        kind = f"scheme {scheme[:20]!r}" if ":" in uri else "an address without a scheme"
        raise ParameterError(
            f"{VARIABLE} has {kind}, {EXPECTED} (a folder of files is not a registry any more)."
        )


def _check_server(uri: str) -> None:
    try:
        address = urlsplit(uri)
        port, host = address.port, address.hostname
    except ValueError as error:
        reason = str(error) if "Port" in str(error) else "no such host"
        shown = "" if "@" in uri else f" ({reason})"  # what is taken for a port may be a password
        raise ParameterError(
            f"{VARIABLE} has a wrong host or port{shown}; {EXPECTED}; {QUOTED}."
        ) from None
    if not host or port == 0 or any(sign.isspace() for sign in uri):
        raise ParameterError(f"{VARIABLE} has no host, port 0, or a blank; {EXPECTED}.")


def _check_file(uri: str) -> None:
    name = uri.partition(":///")[2].partition("?")[0]
    if not name or name == ":memory:":
        raise ParameterError(f"{VARIABLE} names no file, {EXPECTED}; a memory is soon forgotten.")
    path = Path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(path) as store:
            store.execute("PRAGMA schema_version")
        store.close()
    except (OSError, sqlite3.Error) as error:
        if "locked" in str(error):  # somebody works with it
            return
        raise ParameterError(
            f"{VARIABLE}: {path} is not a database, and none can be made there ({error}); "
            f"{EXPECTED}."
        ) from None


def _check_database(uri: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(uri)
        url.get_dialect().import_dbapi()
    except ImportError as error:
        raise ParameterError(
            f"{VARIABLE} needs the Python package {error.name!r}; install it, or name another "
            "driver, as in postgresql+psycopg2://…"
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ParameterError(
            f"{VARIABLE} is no address of a database; {EXPECTED}; {QUOTED}."
        ) from None
    if not url.host or not url.database:
        raise ParameterError(f"{VARIABLE} lacks host or database; {EXPECTED}; {QUOTED}.")


def ask_database(uri: str, seconds: int) -> None:
    """Connect once, since MLflow tries for minutes; an error of the database is passed on."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    if uri.partition(":")[0].partition("+")[0] not in DATABASES:
        return
    url = make_url(uri)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({"connect_timeout": str(seconds)})
    engine = create_engine(url)
    try:
        engine.connect().close()
    finally:
        engine.dispose()
