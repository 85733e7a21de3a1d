from __future__ import annotations

import socket

import pytest

from ikoma.proxy.listeners import find_listening, find_obstacle, format_address
from tests.support import free_port


def test_a_free_port_is_no_obstacle() -> None:
    assert find_obstacle("127.0.0.1", free_port(), ours=()) is None
    assert find_obstacle("", free_port(), ours=()) is None


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_port_that_another_listens_on_is_one_unless_that_is_us(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        assert find_obstacle(host, port, ours=()) == "another program listens there"
        assert find_obstacle(host, port, ours=[format_address(host, port)]) is None


def test_an_address_of_another_machine_is_one() -> None:
    assert find_obstacle("192.0.2.1", free_port(), ours=()) == "this machine does not have that address"


def test_datagrams_are_ours_only_where_they_are_served() -> None:
    servers = [{"listen": ["127.0.0.1:1"], "protocols": ["h1"]}, {"listen": [":443"], "protocols": ["h2", "h3"]}]
    assert find_listening(servers) == {"127.0.0.1:1", ":443", "udp/:443"}
