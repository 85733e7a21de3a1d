"""Sessions of older clients: whose they are, what is sent again, and how many there may be."""

from __future__ import annotations

import json

from tests.mcp.older import Older
from tests.support import Server


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
    ((_, answer),) = [event for event in admin.events(admin.get(begin)) if event[1]]
    assert json.loads(answer)["id"] == 7
    assert json.loads(answer)["result"]["structuredContent"]["name"] == "lost"
    other = house.do("keys.create", {"name": "other", "role": "admin"})["key"]
    assert admin.get(begin, key=other).status == 404
    assert admin.get(begin, key="wrong").status == 401
    assert admin.delete() == 200
    assert admin.get(begin).status == 404
