"""Tells outages and refused requests from all other errors, by what the error says.

MLflow turns most errors of its transport into text, and a version is loaded in another process, so
the text is all that there is. An outage is never a verdict on a version: callers let it pass.
"""

from __future__ import annotations

import re

from components._frame.exit_codes import TemporaryError
from components._registry.address import where
from longtail.errors import ParameterError

# As MLflow, requests, urllib3, and S3 write the status of an answer.
STATUS = re.compile(
    r"error code (\d{3}) != |\b(\d{3}) (?:Client|Server) Error\b|too many (\d{3}) error responses"
    r"|RestException: (\w+): |An error occurred \((\w+)\)"
)
NAMED = {
    "UNAUTHENTICATED": 401,
    "CUSTOMER_UNAUTHORIZED": 401,
    "PERMISSION_DENIED": 403,
    "AccessDenied": 403,
    "InvalidAccessKeyId": 403,
    "SignatureDoesNotMatch": 403,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "INTERNAL_ERROR": 500,
    "InternalError": 500,
    "SlowDown": 503,
    "ServiceUnavailable": 503,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
AWAY = re.compile(
    r"API request to \S+ failed with (timeout )?exception|OperationalError|gaierror"
    r"|\b(Connection\w*|ConnectTimeout|ReadTimeout|NewConnection|MaxRetry|NameResolution|Timeout"
    r"|Protocol|ChunkedEncoding|EndpointConnection|Proxy|SSL)Error\b|\b(Connect|Read)Timeout\b"
    r"|IncompleteRead|Incomplete read"
)
# As PostgreSQL and MySQL answer a wrong user or password.
STRANGER = re.compile(r"password authentication failed|no pg_hba.conf entry|Access denied for user")
FULL = re.compile(r"disk is full|No space left on device")
REFUSED = {
    401: "does not know these credentials; set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    403: "forbids this to these credentials; ask its owner for the permission",
    407: "is behind a proxy that asks for credentials; put them in HTTPS_PROXY or HTTP_PROXY",
    413: "finds the request too large; raise the limit of the proxy before it "
    "(nginx: client_max_body_size)",
}


def told(error: BaseException) -> str:
    """Type and message of the error and of those that caused it, one per line."""
    lines: list[str] = []
    following: BaseException | None = error
    while following is not None and len(lines) < 10:
        lines.append(f"{type(following).__name__}: {following}")
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)
    return "\n".join(lines)


def explained(text: str) -> TemporaryError | ParameterError | None:
    """The error to raise instead, if `text` tells of an outage or of a refused request.

    Args:
        text: type and message of an error, and of those that caused it.

    Returns:
        A TemporaryError for an outage (no connection, HTTP 408, 429, or 5xx, no space); a
        ParameterError for HTTP 401, 403, 407, and 413; None for all others.
    """
    if FULL.search(text):
        return TemporaryError(
            "The tracking store or this machine has no space left (disk is full); free some and "
            "try again."
        )
    if STRANGER.search(text):
        return ParameterError(
            f"The database at {where()} does not know this user or password; correct them in "
            "MLFLOW_TRACKING_URI."
        )
    status = _status(text)
    if status in REFUSED:
        reason = f"{REFUSED[status]} (HTTP {status})."
        return ParameterError(f"The tracking server at {where()} {reason}")
    if status is None and not AWAY.search(text):
        return None
    if status is not None and status < 500 and status not in (408, 429):
        return None
    reason = f"HTTP {status}" if status else _without_password(text.splitlines()[0])[:200]
    return TemporaryError(
        f"The tracking server at {where()} cannot be reached ({reason}); start it, or set "
        "MLFLOW_TRACKING_URI to a running one, and try again."
    )


def _status(text: str) -> int | None:
    """The first HTTP status that the text names."""
    for match in STATUS.finditer(text):
        name = next(group for group in match.groups() if group)
        if name.isdigit():
            return int(name)
        if name in NAMED:
            return NAMED[name]
    return None


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", text)
