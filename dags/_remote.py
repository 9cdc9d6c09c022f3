"""DVC's remote in S3: its options, one object at a time, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dags._tools import ToolError, WorkspaceError, remote_options

# The options that pods get; they find credentials where all AWS clients do.
SHOWN = ("url", "endpointurl", "region", "use_ssl", "sse", "sse_kms_key_id", "acl",
         "connect_timeout", "read_timeout")  # fmt: skip
# As S3 and its clients call it, in exceptions and in what DVC prints.
REFUSED = re.compile(
    r"AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|Forbidden"
    r"|NoCredentials|[Uu]nable to locate credentials|InvalidToken"
)
MISSING = re.compile(r"neither locally nor on remote|Is your cache up to date|missing-files")
SKEWED = re.compile(r"RequestTimeTooSkewed|difference between the request time")
NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist")


class CredentialsError(WorkspaceError):
    """The remote refuses the credentials, or there are none."""


def shown_options(repo: Path) -> dict[str, str]:
    """What pods need to know of the repository's default remote, without secrets.

    Raises:
        ValueError: There is no default remote, or it is not in S3.
    """
    options = remote_options(repo)
    url = options.get("url", "")
    if not url.startswith("s3://"):
        raise ValueError(
            f"LONGTAIL_STORAGE is remote, and DVC's default remote is {url or 'not set'}; expected "
            "one in S3: `dvc remote add --default storage s3://bucket/dvc`."
        )
    return {name: options[name] for name in SHOWN if name in options}


class Remote:
    """Files in the folder `nights` of the remote; each is written whole or not at all."""

    def __init__(self, options: dict[str, str]) -> None:
        from dvc.fs import get_cloud_fs  # takes a second
        from dvc_objects.fs.errors import RemoteMissingDepsError

        self.url = options["url"]
        try:
            made, config, path = get_cloud_fs({}, **options)
            self.fs: Any = made(**config)
        except RemoteMissingDepsError:
            raise WorkspaceError(
                f"DVC's remote {self.url} needs the package dvc-s3; install the extra `s3`."
            ) from None
        self.folder = self.fs.join(path, "nights")

    def put(self, file: Path, name: str) -> None:
        with explained(self.url):
            self.fs.put_file(str(file), f"{self.folder}/{name}")

    def get(self, name: str, file: Path) -> None:
        """Fetch a file.

        Raises:
            FileNotFoundError: There is none of this name.
            CredentialsError: The remote does not let us.
            ToolError: It does not answer.
        """
        with explained(self.url):
            self.fs.get_file(f"{self.folder}/{name}", str(file))

    def delete(self, name: str) -> None:
        with explained(self.url):
            self.fs.remove(f"{self.folder}/{name}")


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Raise what an error of S3, or of DVC with it, means: only outages may be tried again.

    Raises:
        CredentialsError: Wrong or no credentials, or no permission.
        WorkspaceError: There is no such bucket, or it lacks what dvc.lock or data.dvc names.
        ToolError: Everything else: no connection, a server that is busy or broken, a wrong clock.
    """
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error} {error.__cause__ or ''}"
        if NO_BUCKET.search(text):
            raise WorkspaceError(f"DVC's remote {url}: there is no such bucket.") from None
        if SKEWED.search(text):
            raise ToolError(
                f"DVC's remote {url} refuses this machine's clock, which is minutes off; set it by "
                "NTP."
            ) from None
        # (A local file that may not be read has an errno.)
        if REFUSED.search(text) or (isinstance(error, PermissionError) and error.errno is None):
            raise CredentialsError(
                f"DVC's remote {url} refuses the credentials, or there are none: set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in pods through LONGTAIL_SECRET, or "
                "a service account that may read and write there."
            ) from None
        if MISSING.search(text):
            raise WorkspaceError(f"DVC's remote {url} lacks data that this step reads: {error}"
                                 ) from None  # fmt: skip
        if isinstance(error, FileNotFoundError | WorkspaceError):
            raise
        raise ToolError(f"DVC's remote {url} could not be read or written: {text}") from None
