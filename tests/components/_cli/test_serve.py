"""What `longtail serve` takes before it loads anything: an address, and a version by its number."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from components._cli.serve import _bound, _numbered
from longtail.errors import ParameterError


class Client:
    """A registry whose champion is version 3."""

    def get_model_version_by_alias(self, name: str, alias: str) -> Any:
        assert (name, alias) == ("longtail", "champion")
        return SimpleNamespace(version="3")


@pytest.mark.parametrize(
    ("uri", "numbered"),
    [
        ("models:/longtail@champion", "models:/longtail/3"),
        ("models:/longtail/2", "models:/longtail/2"),
        ("runs:/abc/model", "runs:/abc/model"),
    ],
)
def test_an_alias_is_followed_once(uri: str, numbered: str) -> None:
    client: Any = Client()
    assert _numbered(client, uri) == numbered


def test_an_address_that_is_taken_or_none_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ParameterError, match=f"listen on 127.0.0.1:{port} .*choose another"):
            _bound("127.0.0.1", port)
    with pytest.raises(ParameterError, match="choose another --host or --port"):
        _bound("no such host", 5001)
    _bound("127.0.0.1", port).close()
