"""Posts a message to a webhook, in every form in which Airflow takes an HTTP connection."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

SECONDS, TRIES = 30, 3
SCHEMES = ("http", "https")
# What else than headers Airflow documents for the extra field of an HTTP connection.
OPTIONS = ("stream", "cert", "proxies", "proxy", "timeout", "verify", "verify_ssl", "srv_lookup",
           "allow_redirects", "max_redirects", "trust_env", "check_response")  # fmt: skip


def url_of(connection: Any) -> str:
    """The address that an HTTP connection means.

    In a connection's URI, Airflow calls the path its schema; in its other forms, the schema is
    `http` or `https`. The host may be a whole address.
    """
    host, schema = connection.host or "", (connection.schema or "").strip("/")
    scheme, path = (schema, "") if schema in SCHEMES else (connection.conn_type, schema)
    if "://" not in host:
        host = f"{scheme if scheme in SCHEMES else 'http'}://{host}"
    parts = urlsplit(host)
    if connection.port and parts.port is None:
        host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return f"{host.rstrip('/')}/{path}" if path else host


def post(connection: Any, message: str) -> None:
    """Post `{"text": message}`; tried again if the server is away or answers 429 or 5xx.

    Raises:
        OSError: It could not be posted, or the answer was an error. The text does not name the
            address, which is a secret.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    extra = dict(connection.extra_dejson)
    options = {name: extra.pop(name) for name in OPTIONS if name in extra}
    again = Retry(TRIES - 1, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504),
                  allowed_methods=None)  # fmt: skip
    with requests.Session() as session:
        for scheme in SCHEMES:
            session.mount(f"{scheme}://", HTTPAdapter(max_retries=again))
        session.trust_env = options.get("trust_env", True)
        try:
            answer = session.post(
                url_of(connection),
                json={"text": message},
                headers={name: str(value) for name, value in extra.items()},
                auth=(connection.login, connection.password or "") if connection.login else None,
                verify=options.get("verify", options.get("verify_ssl", True)),
                cert=options.get("cert"),
                proxies=options.get("proxies", options.get("proxy")),
                timeout=float(options.get("timeout") or SECONDS),
            )
        except requests.RequestException as error:
            raise OSError(f"the webhook could not be reached ({type(error).__name__})") from None
    if not answer.ok:
        raise OSError(f"the webhook answered {answer.status_code} {answer.reason}")
