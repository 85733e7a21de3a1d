"""An app answers HTTP no more: nothing leads to the address that its containers had."""

from __future__ import annotations

import os
import socket
import threading
from urllib.request import urlopen

from tests.rollouts.live_app import compose, new_app
from tests.support import Server, eventually

SLOW = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; sleep 4; echo whole\n"


def test_the_route_goes_with_x_ikoma_once_its_requests_have_ended(server: Server) -> None:
    app = new_app(server, "live-withdrawn")
    slow = app.folder / "src" / "cgi-bin" / "slow"
    slow.parent.mkdir()
    slow.write_text(SLOW)
    os.chmod(slow, 0o755)
    app.deploy("1")
    url, port = app.url, int((app.folder / ".ikoma" / "port").read_text())
    answers: list[bytes] = []

    def ask() -> None:
        with urlopen(url.replace("/version", "/cgi-bin/slow"), timeout=60) as answer:
            answers.append(answer.read())

    asking = threading.Thread(target=ask)
    asking.start()
    silent = "\n".join(line for line in compose().splitlines() if not line.lstrip().startswith(("x-ikoma", "health")))
    app.deploy("2", silent + "\n")
    asking.join()
    assert answers == [b"whole\n"]
    assert refuses(port)
    app.deploy("3", compose())
    assert app.url == url
    with app.loaded("3"):
        pass
    silenced = [item["id"] for item in app.releases()][1]
    app.do("deploy.rollback", to=silenced)
    eventually(lambda: refuses(port), "it is gone again")


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0
