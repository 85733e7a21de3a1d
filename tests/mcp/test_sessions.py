"""Sessions of older clients: whose they are, what is sent again, and how many there may be."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from ikoma.transports.mcp.streams.sessions import MOST_OF_A_KEY
from tests.mcp.older_client import Older
from tests.support import Server, fetch


def test_what_one_session_was_sent_is_never_sent_to_another(house: Server) -> None:
    made = house.do("keys.create", {"name": "curious", "role": "observer"})
    curious, admin = Older(house, made["key"], "2025-06-18"), Older(house, house.key, "2025-06-18")
    ((before, _),) = curious.events(curious.post("ping", identity=7))
    ((_, answer),) = admin.events(admin.call("keys_create", {"name": "hers", "role": "observer"}, identity=7))
    key = json.loads(answer)["result"]["structuredContent"]["key"]
    assert key not in str(curious.events(curious.get(before)))
    again = Older(house, house.key, "2025-06-18")
    again.events(again.post("ping", identity=7))
    assert again.events(again.get(before)) == []  # an id of another session is none of this one's


def test_a_broken_stream_is_taken_up_where_it_was_by_its_own_key_alone(house: Server) -> None:
    admin = Older(house, house.key)
    broken = admin.call("keys_create", {"name": "lost", "role": "observer"}, identity=7)
    ((begin, _),) = admin.events(broken, most=1)
    broken.close()
    taken_up = admin.get(begin, seconds=90)  # what is to come may be under way yet
    answer = ""
    while not answer:
        ((_, answer),) = admin.events(taken_up, most=1)
    assert json.loads(answer)["id"] == 7
    assert json.loads(answer)["result"]["structuredContent"]["name"] == "lost"
    other = house.do("keys.create", {"name": "other", "role": "admin"})["key"]
    assert admin.get(begin, key=other).status == 404
    assert admin.get(begin, key="wrong").status == 401
    assert admin.delete() == 200
    assert admin.get(begin).status == 404


def test_a_key_begins_no_more_sessions_than_its_rate_allows(house: Server) -> None:
    made = house.do("keys.create", {"name": "busy", "role": "observer", "rate": 3})
    begun = [Older(house, made["key"]) for _ in range(5)]
    assert [session.status for session in begun] == [200, 200, 200, 429, 429]
    assert begun[-1].refusal["code"] == "rate_limited"
    assert Older(house, house.key).status == 200


def test_lists_count_for_the_rate_of_a_key(house: Server) -> None:
    made = house.do("keys.create", {"name": "lister", "role": "observer", "rate": 3})
    session = Older(house, made["key"])
    listed = [json.loads(session.events(session.post("tools/list"))[-1][1]) for _ in range(3)]
    assert ["result" in answer for answer in listed] == [True, True, False]
    assert listed[-1]["error"]["data"]["code"] == "rate_limited"
    refused = json.loads(session.events(session.call("platform_info"))[-1][1])["result"]
    assert json.loads(refused["content"][0]["text"])["code"] == "rate_limited"
    other = house.do("keys.create", {"name": "reader", "role": "observer", "rate": 2})["key"]
    asked = urllib.request.Request(f"{house.url}/capabilities", headers={"X-Api-Key": other})
    assert [fetch(asked).status for _ in range(3)] == [200, 200, 429]


def test_the_session_of_a_key_that_is_idle_longest_makes_room_for_a_new_one(house: Server) -> None:
    key = house.do("keys.create", {"name": "many", "role": "observer"})["key"]
    others = Older(house, house.key)
    sessions = [Older(house, key) for _ in range(MOST_OF_A_KEY)]
    sessions[0].events(sessions[0].post("ping"))
    assert Older(house, key).status == 200
    statuses = [session.post("ping").status for session in sessions]
    assert statuses == [200, 404, *[200] * (MOST_OF_A_KEY - 2)]
    assert others.post("ping").status == 200


def test_a_key_all_of_whose_sessions_are_in_use_begins_no_more_and_bothers_nobody(house: Server) -> None:
    key = house.do("keys.create", {"name": "full", "role": "observer"})["key"]
    sessions = [Older(house, key) for _ in range(MOST_OF_A_KEY)]
    streams = [session.get() for session in sessions]
    assert {stream.status for stream in streams} == {200}
    before = len(house.audit())
    refused = Older(house, key)
    assert (refused.status, refused.refusal["code"]) == (503, "too_many_connections")
    assert house.audited(before, capability="mcp", code="too_many_connections")
    assert Older(house, house.key).status == 200
    assert sessions[0].delete() == 200
    assert Older(house, key).status == 200


def test_the_stream_of_a_key_that_is_revoked_ends(house: Server) -> None:
    made = house.do("keys.create", {"name": "leaves", "role": "observer"})
    stream, other = Older(house, made["key"]).get(seconds=90), Older(house, house.key).get()
    house.do("keys.revoke", {"id": made["id"]})
    deadline = time.monotonic() + 90
    while stream.readline():
        assert time.monotonic() < deadline, "it is still open"
    with pytest.raises(TimeoutError):  # others stay open
        while other.readline():
            pass
    assert "without completing response" not in house.log()
