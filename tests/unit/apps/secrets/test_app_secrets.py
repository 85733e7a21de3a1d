"""Variables are secrets by their names and by their values; some are none whatever they are called."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest

from ikoma.apps.secrets import app_secrets
from ikoma.apps.secrets.app_secrets import is_secret
from ikoma.compose.model import parse_model


def test_a_value_is_looked_at_once_for_each_way_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(app_secrets, "is_secret", lambda name, value: looked.append(value))
    app_secrets.find_in_text("WORD=plain\nMONEY='a$$b'\n")
    assert sorted(looked) == ["a$$b", "a$b", "plain"]


@pytest.mark.parametrize(
    "variable",
    [
        *("DB_PASSWORD=shop", "DBPASS=hunter2", "PGPASSWORD=postgres", "ADMIN_PIN=4711", "PASSWORD=1234567890"),
        *(
            "apiToken=abcd",
            "STRIPE_SECRET=x/y/z",
            "SECRET_KEY_BASE=correct horse",
            "SESSION_SALT=p&pper!",
            "JWT=a.b.c!",
        ),
        *("DATABASE_URL=postgres://me:pw12@db/x", "REDIS=redis://:hunter22@cache:6379/0", "AUTH_URL=http://u:pass@h/"),
        *(
            "HOOK=https://h.example/in?token=abcdef",
            "STRIPE=sk_live_0123456789abcdef",
            "CERT=-----BEGIN PRIVATE KEY-----",
        ),
        *("HASHED=$2b$12$Dwt1BjqBfJvvqs", "AWS_ACCESS_KEY_ID=AKIA0123456789ABCDEF", "WHO=eyJhbGciOiJIUzI1NiJ9.e30.x"),
        *(
            "CONFIG=canary-0f3a5c7e9b1d2f4a6c8e0b1d",
            "VALUE=Zq9kLm2PwX7vB4nT8sR1",
            "SLACK_WEBHOOK=https://s.example/T/B/x",
        ),
        *("SLACK_URL=https://hooks.example/services/T0/B0/a1b2C3d4E5f6G7h8I9j0",),
    ],
)
def test_a_secret_is_known_by_its_name_or_its_value(variable: str) -> None:
    assert is_secret(*variable.split("=", 1)), variable


@pytest.mark.parametrize(
    "variable",
    [
        *(
            "NODE_ENV=production",
            "BIND_ADDRESS=127.0.0.1",
            "PUBLIC_URL=https://shop.example.com/a",
            "APP_NAME=d-shop-web",
        ),
        *("TOKEN_TTL=3600s", "PASSWORD_MIN_LENGTH=12345", "PASSWORD_FILE=/run/secrets/db", "AUTH_ENABLED=true"),
        *("AUTH_PROVIDER=google", "AUTH_BACKEND=ldap", "AUTH_URL=https://login.example.com", "KEYCLOAK_HOST=keycloak"),
        *(
            "MONKEY=banana",
            "KEYBOARD_LAYOUT=german",
            "BYPASS=always",
            "AUTHOR=somebody",
            "PRIMARY_KEY=id",
            "PINNED=webapp",
        ),
        *("GIT_SHA=0f3a5c7e9b1d2f4a6c8e0b1d0f3a5c7e9b1d2f4a", "TZ=Europe/Vienna", "LANG=en_US.UTF-8", "PORT=3000"),
        *(
            "IMAGE=ghcr.io/acme/shop:1.2.3",
            "ADMIN_EMAIL=me@example.com",
            "TITLE=My little Shop",
            "LIST=a,b,c,d,e,f,g,h",
        ),
        *(
            "BUILT=20260102T150405Z",
            "REDIS_URL=redis://cache:6379/0",
            "TOKEN=abc",
            "SECRET=",
            "ASSETS=/www/app.0f3a5c7e9b1d2f4a",
        ),
        *(
            "STRIPE_PUBLISHABLE_KEY=pk_live_0123456789abcdef",
            "JWT_ISSUER=https://login.example.com",
            "SUBNET=10.0.0.0/24",
        ),
    ],
)
def test_what_names_counts_places_and_switches_say_is_none(variable: str) -> None:
    assert not is_secret(*variable.split("=", 1)), variable


def test_what_is_drawn_by_lot_is_found_under_any_name() -> None:
    lot = random.Random(1)  # the same each time: of a million, a dozen look like words
    drawn = [lot.randbytes(12).hex() for _ in range(2000)]
    drawn += [base64.urlsafe_b64encode(lot.randbytes(32)).decode().rstrip("=") for _ in range(2000)]
    assert [value for value in drawn if not is_secret("VALUE", f"canary-{value}")] == []


def test_what_is_drawn_without_a_digit_by_chance_is_found_too() -> None:
    for value in (
        "jFMQb-KqWOLjikXGVB-qZCRSNGfE_TqbQJctvSASIGM",
        "VkcCcLVEVc_mffmYrxEZWZPGSjGQMIQoe_FI_ddpcpg",
        "s7XPBuc_CNHNM5_SVBRUCILoE9_zlzPTGALTFB6TYXQ",
    ):
        assert is_secret("VALUE", value), value
    assert not is_secret("VALUE", "My-Company_Name-For-Customers_And-Partners_Of")


def test_what_is_written_is_known_also_where_the_file_is_malformed() -> None:
    text = 'A_TOKEN="a\\$b-c!"\nB_TOKEN="for!gotten\nC_TOKEN: ye-s!\nexport D_TOKEN=x$$y!\nE_TOKEN=tab!\t# c\n'
    known = {secret.reveal() for secret in app_secrets.find_in_text(text)}
    assert {"a\\$b-c!", "a$b-c!", "for!gotten", "ye-s!", "x$$y!", "x$y!", "tab!\t# c"} <= known
    assert not any(secret.reveal().startswith("production") for secret in app_secrets.find_in_text("ENV=production"))


def test_a_model_gives_what_containers_and_builds_get(tmp_path: Path) -> None:
    web = {"environment": {"A_TOKEN": "a$$b!", "PORT": "3000", "NONE": None}, "build": {"args": {"NPM_TOKEN": "c!dd"}}}
    model = parse_model({"services": {"web": web}})
    assert {secret.reveal() for secret in app_secrets.find_in_model(model)} == {
        "a$b!",
        "c!dd",
    }
