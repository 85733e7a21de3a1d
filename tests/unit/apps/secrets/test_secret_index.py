from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from ikoma.apps.app import Apps
from ikoma.apps.secrets import secret_index
from ikoma.apps.secrets.secret_files import SecretFiles
from ikoma.apps.secrets.secret_index import SecretIndex
from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.model import AppName, Secret
from tests.unit.apps import compose_reading

pytestmark = pytest.mark.engine

SHOP = AppName("shop")


@pytest.fixture
def apps(tmp_path: Path) -> Apps:
    for name in ("shop", "bank"):
        (tmp_path / name).mkdir()
    return Apps(tmp_path)


def test_a_value_is_known_as_soon_as_it_is_set_and_after_it_was_replaced(apps: Apps) -> None:
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    app = apps.locate(SHOP)
    compose_reading.put(app, "TOKEN", "first-value-1")
    assert scrubber.scrub_text("say first-value-1", "shop") == "say ***"
    compose_reading.put(app, "TOKEN", "second-value-2")
    assert scrubber.scrub_text("first-value-1 second-value-2", "shop") == "*** ***"
    compose_reading.remove(app, "TOKEN")
    assert scrubber.scrub_text("first-value-1 second-value-2", "shop") == "*** ***"


def test_secrets_of_other_apps_and_of_the_platform_are_known_too(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    book = SecretIndex(SecretFiles(apps), [Secret("platform-password")])
    compose_reading.put(apps.locate(AppName("bank")), "PASSWORD", "vault-of-bank")
    monkeypatch.setattr(secret_index, "_LOOK_SECONDS", 0.0)
    assert Scrubber(book).scrub_text("vault-of-bank platform-password", "shop") == "*** ***"


def test_short_secrets_are_hidden_from_those_whose_key_reaches_their_app(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From others they are not: by the stars in what it made the server say, a key would find what others hold."""
    monkeypatch.setattr(secret_index, "_LOOK_SECONDS", 0.0)
    (apps.root / "bank--next" / ".ikoma").mkdir(parents=True)
    (apps.root / "bank--next" / ".ikoma" / "preview.json").touch()
    compose_reading.put(apps.locate(SHOP), "PASSWORD", "shop-pin-1")
    compose_reading.put(apps.locate(AppName("bank")), "PASSWORD", "bank-pin-1")
    compose_reading.put(apps.locate(AppName("bank--next")), "PASSWORD", "next-pin-1")
    compose_reading.put(apps.locate(AppName("bank")), "LONG_SECRET", "more than anybody could guess")
    text = "shop-pin-1 bank-pin-1 next-pin-1 more than anybody could guess"
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    assert scrubber.scrub_text(text, "shop", ("shop",)) == "*** bank-pin-1 next-pin-1 ***"
    assert scrubber.scrub_text(text, None, ("bank",)) == "shop-pin-1 *** *** ***"
    assert scrubber.scrub_text(text, None, ("s*", "bank--*")) == "*** bank-pin-1 *** ***"
    assert scrubber.scrub_text(text, "shop") == scrubber.scrub_text(text, None) == "*** *** *** ***"


def test_what_cannot_be_read_keeps_no_other_secret_from_being_known(apps: Apps) -> None:
    app = apps.locate(SHOP)
    app.env_file.write_bytes(b"TOKEN=known-value-1\nLATIN_PASSWORD=p\xe4ssword-2\n")
    app.make_state()
    (app.state / "database.json").write_text("{")
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    assert scrubber.scrub_text("known-value-1 p\ufffdssword-2", "shop") == "*** ***"


def test_a_plain_word_is_hidden_as_a_whole_in_what_others_wrote_alone(apps: Apps) -> None:
    app = apps.locate(SHOP)
    for name, value in {"PASSWORD": "postgres", "APP_NAME": "front", "SECRET": "healthy", "TOKEN": "shop"}.items():
        compose_reading.put(app, name, value)
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    own = "shop is healthy: postgres, front, d-shop-web, http://shop:25420/shop"
    assert scrubber.scrub_own(own, "shop") == own
    assert scrubber.scrub_text(own, "shop") == "*** is ***: ***, front, d-shop-web, http://shop:25420/shop"
    assert scrubber.scrub_text("postgres://me:postgres@shop.example/db", "shop") == "postgres://me:***@shop.example/db"
    body = orjson.dumps({"name": "shop", "health": "healthy", "lines": ["is healthy", "d-shop-web"]})
    answer = orjson.loads(scrubber.scrub_json(body, "shop", quoting=[("lines",)]))
    assert answer == {"name": "shop", "health": "healthy", "lines": ["is ***", "d-shop-web"]}


def test_what_ikoma_calls_files_and_calls_stays_whatever_an_app_takes_for_its_password(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_index, "NAMES_OF_CALLS", {"artifact.verify_release"})
    compose_reading.put(apps.locate(SHOP), "A_PASSWORD", "docker-compose.yml")
    compose_reading.put(apps.locate(SHOP), "B_PASSWORD", "artifact.verify_release")
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    own = "docker-compose.yml:4: artifact.verify_release"
    assert scrubber.scrub_own(own, "bank", ("bank",)) == own
    assert scrubber.scrub_text(own, "shop") == "***:4: ***"


@pytest.mark.parametrize(
    ("secret", "own"),
    [
        ("shop.example.com", "https://shop.example.com/ leads to shop"),
        ("analytics-frontend-2", "analytics-frontend-2 is healthy"),
        ("example/analytics:2024.1", "The image example/analytics:2024.1 is pulled."),
        ("Nothing is routed to the app", "Nothing is routed to the app: no service is seen to answer HTTP."),
        (
            "Correct the key's name or indentation, or remove it.",
            "Correct the key's name or indentation, or remove it.",
        ),
    ],
)
def test_a_name_and_words_of_ikomas_own_stay_whatever_an_app_takes_for_its_password(
    apps: Apps, secret: str, own: str
) -> None:
    names = frozenset({"shop.example.com", "analytics-frontend-2", "example/analytics:2024.1"})
    (apps.root / "shop" / ".env").write_text(f'A_PASSWORD="{secret}"\n')
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), [], named=lambda app: names))
    assert scrubber.scrub_own(own, "shop") == own
    assert "***" in scrubber.scrub_text(f"log: {secret} !", "shop")
    (apps.root / "shop" / ".env").write_text('A_PASSWORD="Nothing was ever routed to the shop"\n')
    assert scrubber.scrub_own("say Nothing was ever routed to the shop", "shop") == "say ***"


def test_the_password_in_an_address_is_a_secret_by_itself(apps: Apps) -> None:
    compose_reading.put(apps.locate(SHOP), "REDIS_URL", "redis://:hunter22@cache:6379/0")
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    assert scrubber.scrub_text("hunter22 and redis://:hunter22@cache:6379/0", "shop") == "*** and ***"


@pytest.mark.parametrize(
    "value", ['quo"te\\back\nline', "ünïcödé-Ω-秘密", "1234567890", "$ecret & <tag>", "tab\tand 'q'"]
)
def test_an_answer_stays_json_whatever_the_secret_is_made_of(apps: Apps, value: str) -> None:
    compose_reading.put(apps.locate(SHOP), "THE_SECRET", value)
    scrubber = Scrubber(SecretIndex(SecretFiles(apps), []))
    for dump in (orjson.dumps, lambda item: __import__("json").dumps(item).encode()):
        body = dump({"lines": [f"before {value} after", value], "number": 1234567890, "nested": {"key": value}})
        scrubbed = scrubber.scrub_json(body, "shop")
        found = orjson.loads(scrubbed)
        assert found["number"] == 1234567890
        assert value not in orjson.dumps(found["lines"]).decode()
        assert found["lines"] == ["before *** after", "***"]


def test_an_unreadable_file_keeps_nobody_from_an_answer(apps: Apps) -> None:
    (apps.root / "shop" / ".env").symlink_to("/etc/shadow")
    assert Scrubber(SecretIndex(SecretFiles(apps), [])).scrub_text("text", "shop") == "text"
