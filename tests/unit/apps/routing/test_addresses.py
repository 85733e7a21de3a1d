from __future__ import annotations

from ikoma.apps.routing.addresses import list_addresses
from ikoma.compose.compose_file import Web
from tests.unit.replicas import replica

WEB = Web("web", 8000, "/")


def test_replicas_of_the_web_service_that_run_are_reached_each_at_its_own_endpoint() -> None:
    there = [
        replica("a", host="10.0.0.2"),
        replica("b", host="10.0.0.3"),
        replica("c", host="10.0.0.4", state="exited"),
        replica("d"),
        replica("e", "worker", host="10.0.0.5"),
    ]
    assert list_addresses(WEB, there) == ["10.0.0.2:8000", "10.0.0.3:8000"]


def test_an_endpoint_that_replicas_share_is_told_once() -> None:
    there = [replica(name, host="127.0.0.1", ports={8000: 30001}) for name in ("a", "b")]
    assert list_addresses(WEB, there) == ["127.0.0.1:30001"]
