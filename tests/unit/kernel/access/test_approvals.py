from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikoma.errors import ApprovalClosed, ApprovalDenied, ApprovalNeeded, ApprovalNotYours, ApprovalsFull, NotFound
from ikoma.kernel.access import approvals as module
from ikoma.kernel.access.approvals import APPROVED, DENIED, EXPIRED, USED, Approvals
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.state.store import Store
from ikoma.model import Role

BOT = Caller("key_bot", "bot", Role.ADMIN, needs_approval=True)
ANN = Caller("key_ann", "ann", Role.ADMIN)


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(Store(tmp_path / "state.db"))


def use(
    approvals: Approvals, caller: Caller, capability: str, digest: str, ended: str | None = None, take: bool = True
) -> bool:
    return approvals.allows(caller, capability, digest, has_ended=lambda identity: identity == ended, take=take)


def ask(approvals: Approvals, digest: str = "this", app: str | None = "shop") -> str:
    needed = approvals.ask(BOT, "apps.remove", digest, app=app, arguments={"appName": app}, summary="Remove it.")
    return str(needed.details["approval"])


def test_consent_is_to_one_call_of_one_caller_once(approvals: Approvals) -> None:
    assert use(approvals, BOT, "apps.remove", "this") is False
    identity = ask(approvals)
    with pytest.raises(ApprovalNeeded) as waiting:
        use(approvals, BOT, "apps.remove", "this")
    assert waiting.value.details["approval"] == identity
    approvals.decide(identity, ANN, APPROVED)
    assert use(approvals, BOT, "apps.remove", "that") is False
    assert use(approvals, ANN, "apps.remove", "this") is False
    assert use(approvals, BOT, "apps.remove", "this", take=False) is True
    assert use(approvals, BOT, "apps.remove", "this") is True
    assert use(approvals, BOT, "apps.remove", "this") is False
    [item] = approvals.list_visible(ANN, closed=True)
    assert (item.state, item.decided_by) == (USED, "ann")


def test_of_two_calls_at_once_one_gets_the_consent(approvals: Approvals, tmp_path: Path) -> None:
    elsewhere = Approvals(Store(tmp_path / "state.db"))
    approvals.decide(ask(approvals), ANN, APPROVED)
    assert [use(approvals, BOT, "apps.remove", "this"), use(elsewhere, BOT, "apps.remove", "this")] == [True, False]


def test_a_refusal_holds_until_its_hour_is_over(approvals: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    approvals.decide(ask(approvals), ANN, DENIED)
    with pytest.raises(ApprovalDenied, match="ann"):
        use(approvals, BOT, "apps.remove", "this")
    later = (datetime.now(UTC) + timedelta(minutes=61)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    monkeypatch.setattr(module, "_format_now", lambda: later)
    assert use(approvals, BOT, "apps.remove", "this") is False


def test_a_consent_ends_with_the_key_that_gave_it(approvals: Approvals) -> None:
    approvals.decide(ask(approvals), ANN, APPROVED)
    assert use(approvals, BOT, "apps.remove", "this", ended=ANN.id) is False
    assert use(approvals, BOT, "apps.remove", "this") is False
    assert [item.state for item in approvals.list_visible(ANN, closed=True)] == [EXPIRED]
    assert ask(approvals) in {item.id for item in approvals.list_visible(ANN, closed=False)}


def test_equal_calls_ask_once(approvals: Approvals, tmp_path: Path) -> None:
    assert ask(approvals) == ask(Approvals(Store(tmp_path / "state.db"))) != ask(approvals, "other")


def test_no_key_asks_others_requests_away(approvals: Approvals) -> None:
    others = Caller("key_other", "other", Role.ADMIN, needs_approval=True)
    denied, granted = ask(approvals, "denied"), ask(approvals, "granted")
    approvals.decide(denied, ANN, DENIED)
    approvals.decide(granted, ANN, APPROVED)
    for number in range(20):
        ask(approvals, f"more {number}")
    with pytest.raises(ApprovalsFull):
        ask(approvals, "one more")
    assert ask(approvals, "more 7")
    needed = approvals.ask(others, "apps.remove", "theirs", app="shop", arguments={}, summary="Theirs.")
    with pytest.raises(ApprovalDenied):
        use(approvals, BOT, "apps.remove", "denied")
    assert use(approvals, BOT, "apps.remove", "granted") is True
    assert needed.details["approval"] in {item.id for item in approvals.list_visible(ANN, closed=False)}


def test_only_requests_whose_hour_is_over_are_forgotten(approvals: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEEP", 2)
    first = [ask(approvals, f"early {number}") for number in range(5)]
    assert len(approvals.list_visible(ANN, closed=True)) == 5
    later = (datetime.now(UTC) + timedelta(minutes=61)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    monkeypatch.setattr(module, "_format_now", lambda: later)
    kept = ask(approvals, "late")
    assert [item.id for item in approvals.list_visible(ANN, closed=True)] == [kept, first[-1]]


def test_a_request_ends_after_an_hour(approvals: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, granted = ask(approvals), ask(approvals, "other")
    approvals.decide(granted, ANN, APPROVED)
    later = (datetime.now(UTC) + timedelta(minutes=61)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    monkeypatch.setattr(module, "_format_now", lambda: later)
    with pytest.raises(ApprovalClosed, match="expired"):
        approvals.decide(waiting, ANN, APPROVED)
    assert use(approvals, BOT, "apps.remove", "other") is False
    assert {item.state for item in approvals.list_visible(ANN, closed=True)} == {EXPIRED}


def test_nobody_decides_on_their_own_and_no_key_that_needs_approval_decides(approvals: Approvals) -> None:
    identity = ask(approvals)
    for caller in (BOT, Caller("key_other", "other bot", Role.ADMIN, needs_approval=True)):
        with pytest.raises(ApprovalNotYours):
            approvals.decide(identity, caller, APPROVED)
    approvals.decide(identity, ANN, APPROVED)
    with pytest.raises(ApprovalClosed, match="approved"):
        approvals.decide(identity, ANN, DENIED)


def test_who_does_not_reach_the_app_or_the_capability_does_not_see_the_request(approvals: Approvals) -> None:
    identity = ask(approvals)
    for scope in ({"apps": ("other-*",)}, {"capabilities": ("db.*",)}):
        outsider = Caller("key_out", "out", Role.ADMIN, **scope)
        assert list(approvals.list_visible(outsider, closed=True)) == []
        with pytest.raises(NotFound):
            approvals.decide(identity, outsider, APPROVED)
    of_the_platform = ask(approvals, "platform", app=None)
    with pytest.raises(NotFound):
        approvals.decide(of_the_platform, Caller("key_shop", "shop", Role.ADMIN, apps=("shop",)), APPROVED)
