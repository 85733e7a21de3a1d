"""A deploy was cut off after a migration that the release before cannot live with, and the way back is barred."""

from __future__ import annotations

import json
from pathlib import Path

from tests.rollouts.live_app import compose, new_app
from tests.rollouts.self_killing_server import COMMAND
from tests.support import Server, eventually
from tests.support import server as started_server


def test_taking_the_app_down_forgets_nothing(server: Server) -> None:
    with started_server(command=COMMAND) as dying:
        app = new_app(dying, "live-unrestored")
        app.do("db.create")
        (app.folder / "migrations" / "1_shop.sql").write_text("CREATE TABLE shop (id int, gone int);")
        good = app.deploy("good")
        (app.folder / "migrations" / "2_gone.sql").write_text("ALTER TABLE shop DROP COLUMN gone;")
        (Path(dying.env["IKOMA_STATE"]) / "kill-at").write_text("migrated")
        app.write("broken", compose(more="environment: {NEW: '1'}"))
        try:
            app.call("deploy.up")
        except OSError:
            dying.kill()
        kept = dying.backups / json.loads((app.folder / ".ikoma" / "rollout.json").read_text())["backup"]
        kept.rename(kept.with_suffix(".away"))
        dying.start()

        def said() -> str:
            return str(app.do("apps.health")["details"].get("rollout"))

        eventually(lambda: "is not there any more" in said(), "people see that the database is not restored")
        assert app.do("apps.health")["health"] != "healthy"
        eventually(lambda: app.call("deploy.down").status == 200, "it is taken down")
        assert app.call("deploy.restart").code == "backup_missing"
        assert app.running() == []
        assert dying.log().count("is not there any more") < 9, "it is tried less and less often"
        kept.with_suffix(".away").rename(kept)
        eventually(lambda: app.call("deploy.restart").status == 200, "it is restored, and serves")
        assert app.release(good)["current"]
        assert app.do("db.query", sql="SELECT gone FROM shop")["rows"] == []
        assert said() == "None"
