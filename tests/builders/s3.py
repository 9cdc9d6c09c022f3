"""An S3 server on loopback (moto), with one bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.request import Request, urlopen

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

BUCKET = "longtail"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


@contextmanager
def serve_s3() -> Iterator[dict[str, str]]:
    """Serve S3, and yield the settings of its clients."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "planted-id",
        "AWS_SECRET_ACCESS_KEY": "planted-key",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    # All of the process's servers share one memory.
    urlopen(Request(f"{settings['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()
    client(settings).create_bucket(Bucket=BUCKET)
    try:
        yield settings
    finally:
        server.stop()


SKEWED = (
    b"<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and "
    b"the current time is too large.</Message></Error>"
)


@contextmanager
def asking(answer: Callable[[str], bytes | None], status: str = "503 Slow Down") -> Iterator[None]:
    """Have the server ask before each request, `METHOD /path`; bytes are its answer."""
    serve = DomainDispatcherApplication.__call__

    def ask(app: Any, environ: dict[str, Any], start: Any) -> Any:
        found = answer(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if found is None:
            return serve(app, environ, start)
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else found
        start(status, [("Content-Length", str(len(body)))])
        return [body]

    with patch.object(DomainDispatcherApplication, "__call__", ask):
        yield


@contextmanager
def checking_credentials() -> Iterator[None]:
    """Have the server refuse credentials that it does not know, which are all."""
    with patch("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0):
        yield


def client(settings: dict[str, str]):  # type: ignore[no-untyped-def] # boto3 makes its classes
    return boto3.client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        region_name=settings["AWS_DEFAULT_REGION"],
    )


def keys(settings: dict[str, str], prefix: str) -> list[str]:
    """The keys in the bucket that start with `prefix`."""
    found = client(settings).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", [])]
