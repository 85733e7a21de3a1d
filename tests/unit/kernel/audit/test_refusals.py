"""Refusals of strangers are on record, and do not fill it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ikoma.errors import IkomaError, Unauthenticated
from ikoma.kernel.audit import refusals
from ikoma.model import Role
from tests.unit.kernel.small_pipeline import House, refused


def knock(house: House, times: int, address: str) -> None:
    async def scenario() -> None:
        for _ in range(times):
            with pytest.raises(IkomaError):
                await house.call("test.write", key=None, address=address)

    asyncio.run(scenario())


def test_many_refusals_of_one_address_are_a_few_entries_and_their_number(tmp_path: Path) -> None:
    house = House(tmp_path)
    knock(house, 500, "192.0.2.1")
    refused(house, Unauthenticated, "test.read", key=None, address="192.0.2.2")  # another's first is not summed up
    asyncio.run(house.call("test.read", key=house.key(Role.ADMIN), address="192.0.2.1"))
    house.pipeline.close()
    entries = house.entries()
    assert [entry["code"] for entry in entries] == [*["unauthenticated"] * 11, None, "refusals_summed"]
    told = entries[-1]["arguments"]
    assert (told["address"], told["count"], told["codes"]) == ("192.0.2.1", 490, {"unauthenticated": 490})
    assert entries[0]["timestamp"] <= told["since"] <= told["until"]


def test_many_addresses_take_no_more_room(tmp_path: Path) -> None:
    house = House(tmp_path)
    for number in range(150):
        knock(house, 3, f"192.0.2.{number}")
    house.pipeline.close()
    entries = house.entries()
    sums = [entry["arguments"] for entry in entries if entry["code"] == "refusals_summed"]
    assert len(entries) - len(sums) == 200
    assert len(sums) <= 101
    assert sum(item["count"] for item in sums) == 450 - 200
    assert sums[-1] == sums[-1] | {"address": "other addresses", "count": 150}


class Clock:
    """Stands still, so that no minute is over before its timer says so, however slow the machine."""

    @staticmethod
    def monotonic() -> float:
        return 1000.0


def test_the_sum_is_written_when_the_minute_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "time", Clock)
    monkeypatch.setattr(refusals, "_SECONDS", 0.1)
    house = House(tmp_path)

    async def scenario() -> None:
        for _ in range(11):
            with pytest.raises(Unauthenticated):
                await house.call("test.write", key=None)
        async with asyncio.timeout(60):
            while house.entries()[-1]["code"] != refusals.SUMMED:
                await asyncio.sleep(0.02)

    asyncio.run(scenario())
    assert house.entries()[-1]["arguments"]["count"] == 1
    refused(house, Unauthenticated, "test.read", key=None)
