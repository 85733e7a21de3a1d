"""The reference as a person uses it, in a real browser: search, open, copy a command, run it; read a guide."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ikoma import capabilities
from ikoma.kernel.access import controls
from tests.support import Server
from tests.web.browser import ENTER, ESCAPE, TAB, Browser

SEEN = "return [...document.querySelectorAll('[data-name]')].filter(e => !e.hidden).map(e => e.dataset.name)"
FOCUSED = "return document.activeElement.closest('[data-name]')?.dataset.name ?? document.activeElement.id"
WIDER = """
const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('pre, main.guide table')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1);
return wide.map(e => e.outerHTML.slice(0, 80))
"""


def test_a_capability_is_searched_opened_copied_and_run_without_a_mouse(server: Server, browser: Browser) -> None:
    browser.resize(1100, 900)
    browser.open(f"{server.url}/docs")
    browser.allow_clipboard(server.url)
    browser.type("/")
    assert browser.run(FOCUSED) == "search"
    browser.type("db.backup")
    assert "db.backup" in browser.run(SEEN)
    assert "files.read" not in browser.run(SEEN)
    browser.type(ENTER)
    assert browser.run(FOCUSED) == "db.backup"
    assert browser.run("return document.getElementById('db.backup').open")

    browser.run("document.getElementById('search').focus()")
    browser.type(ESCAPE + "platform check" + ENTER)
    assert browser.run(FOCUSED) == "platform.check"
    while not browser.run("return document.activeElement.matches('.line:has(.here) button')"):
        browser.type(TAB)
        assert browser.run(FOCUSED) == "platform.check"
    browser.type(ENTER)
    copied = browser.waits_for("return navigator.clipboard.readText()")
    assert copied == f"curl -X POST {server.url}/execute/platform.check -H \"X-Api-Key: $KEY\" -d '{{}}'"
    done = subprocess.run(
        ["sh", "-c", copied], env={**server.env, "KEY": server.key}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["result"]["checks"]["postgres"] is True
    assert browser.complaints() == []


def test_words_find_arguments_and_error_codes_and_what_is_not_there_is_said(server: Server, browser: Browser) -> None:
    browser.open(f"{server.url}/docs")
    browser.run("document.getElementById('search').focus()")
    browser.type("go back")
    assert {"deploy.rollback", "cannot_go_back"} <= set(browser.run(SEEN))
    browser.type(ESCAPE + "plan_drifted")
    assert browser.run(SEEN) == ["plan_drifted"]
    browser.type(ESCAPE + "no such thing at all")
    assert browser.run(SEEN) == []
    assert browser.run("return document.getElementById('found').textContent") == "0 found"
    assert browser.run("return [...document.querySelectorAll('section.task')].every(s => s.hidden)")
    browser.type(ESCAPE)
    assert len(browser.run(SEEN)) > 100


SOUGHT = {
    "restore a file": "files.restore",
    "delete an app": "apps.remove",
    "stop": "deploy.down",
    "go back to a release": "deploy.rollback",
    "list files": "files.list",
    "see the logs": "apps.logs",
    "set a variable": "env.set",
    "back up the database": "db.backup",
    "make a key": "keys.create",
    "list domains": "domain.list",
    "app_busy": "app_busy",
}


def test_what_is_looked_for_comes_first(server: Server, browser: Browser) -> None:
    browser.open(f"{server.url}/docs")
    before = browser.run(SEEN)
    browser.run("document.getElementById('search').focus()")
    first = {}
    for words in SOUGHT:
        browser.type(ESCAPE + words)
        first[words] = next(iter(browser.run(SEEN)), None)
    assert first == SOUGHT
    browser.type(ESCAPE)
    assert browser.run(SEEN) == before, "without a search all stands where it stood"


def test_each_argument_that_a_call_takes_is_described(server: Server) -> None:
    entries = dict(re.findall(r'<details class="one" id="([a-z._]+)"(.*?)</details>', page(server, "/docs"), re.DOTALL))
    for item in capabilities.load():
        told = re.findall(r"<tr><td><code>(\w+)</code>", entries[item.name].partition("<h4>Answer</h4>")[0])
        assert set(told) == set(controls.make_arguments_schema(item)["properties"]), item.name
        assert f"<code>{item.name}</code> undoes it" not in entries[item.name], "a thing does not undo itself"


def test_an_address_with_a_name_opens_that_capability(server: Server, browser: Browser) -> None:
    browser.open(f"{server.url}/docs#env.set")
    assert browser.run("return document.getElementById('env.set').open")
    browser.run("document.getElementById('search').value = 'zzz'; document.getElementById('search').focus()")
    browser.type("z")
    browser.run("location.hash = 'error-app_busy'")
    assert browser.waits_for("return !document.getElementById('error-app_busy').hidden")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", ["docs", "docs/guides/database", "docs/guides/README"])
def test_pages_fit_a_telephone_and_are_dark_where_that_is_liked(
    server: Server, browser: Browser, tmp_path: Path, path: str, dark: bool
) -> None:
    browser.resize(400, 800, dark=dark)
    browser.open(f"{server.url}/{path}")
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.run(WIDER) == []
    back = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")
    browser.screenshot(tmp_path / "page.png")
    assert browser.complaints() == []


def page(server: Server, path: str) -> str:
    with urllib.request.urlopen(f"{server.url}{path}") as answer:
        text: str = answer.read().decode()
        return text


def test_every_link_of_every_page_leads_somewhere_on_this_server(server: Server) -> None:
    seen: dict[str, str] = {}
    wanted = {"/docs": {""}}
    while missing := wanted.keys() - seen.keys():
        path = missing.pop()
        seen[path] = page(server, path)
        for href in re.findall(r'href="([^"]*)"', seen[path]):
            if not href.startswith("https://"):
                target, _, anchor = href.partition("#")
                wanted.setdefault(target or path, set()).add(anchor)
    assert len(seen) > 20
    dead = [
        (path, name) for path, names in wanted.items() for name in names if name and f'id="{name}"' not in seen[path]
    ]
    assert dead == []


def test_the_address_in_the_commands_is_the_one_by_which_it_was_asked(server: Server) -> None:
    text = page(server, "/docs")
    assert f'<span class="here">{server.url}</span>/execute/db.backup' in text
    request = urllib.request.Request(f"{server.url}/docs", headers={"Host": "localhost:1"})
    with urllib.request.urlopen(request) as answer:
        assert '<span class="here">http://localhost:1</span>' in answer.read().decode()


@pytest.mark.parametrize(
    "name", ["nothing", "../../pyproject", "%2e%2e/%2e%2e/README", "decisions/", "images/how-it-works.svg"]
)
def test_nothing_but_guides_is_served_as_one(server: Server, name: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        page(server, f"/docs/guides/{name}")
    assert refused.value.code == 404
