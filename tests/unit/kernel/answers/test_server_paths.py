"""Paths on the server: whoever cannot use them is told what is below its folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.kernel.answers.server_paths import ServerPaths

PATHS = ServerPaths([Path("/srv/apps"), Path("/opt/ikoma"), Path("/var/backups/ikoma"), Path("/")])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/apps/shop/missing.env is not there.", "shop/missing.env is not there."),
        ("It lies in /srv/apps.", "It lies in apps."),
        ("'/var/backups/ikoma/a.sql' exists.", "'a.sql' exists."),
        ("Look at /opt/ikoma/.env, please", "Look at .env, please"),
        ("/srv/apps-old/shop and /mnt/srv/apps/x stay.", "/srv/apps-old/shop and /mnt/srv/apps/x stay."),
        ("src/a.js and /etc/hosts stay.", "src/a.js and /etc/hosts stay."),
    ],
)
def test_what_is_above_a_folder_is_left_out(text: str, told: str) -> None:
    assert PATHS.cut(text) == told


def test_what_others_wrote_is_not_changed() -> None:
    result = {"path": "/srv/apps/shop", "lines": ["/srv/apps/shop said a container"], "rows": [["/srv/apps"]]}
    foreign = [("lines", "*"), ("rows",)]
    assert PATHS.cut_result(result, foreign) == {**result, "path": "shop"}
    details = {"file": "/srv/apps/shop/a", "logs": ["/srv/apps/b"], "errors": [{"problem": "no /srv/apps/c"}]}
    assert PATHS.cut_details(details) == {"file": "shop/a", "logs": ["/srv/apps/b"], "errors": [{"problem": "no c"}]}
