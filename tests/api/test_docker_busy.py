"""Many images that are not here: whoever validates them waits, and nobody else does."""

from __future__ import annotations

from tests.apps import make_app
from tests.contract.registry import a_registry
from tests.faults.server_observations import Background
from tests.support import Server

MANY = 40


def test_forty_images_that_are_not_here_keep_docker_from_nobody(server: Server) -> None:
    folder = make_app(server, "busy-images")
    with a_registry() as registry:
        services = "".join(f"  s{number}: {{image: '{registry}/slow:{number}'}}\n" for number in range(MANY))
        (folder / "docker-compose.yml").write_text(f"services:\n{services}")
        validating = [Background(server, "apps.validate", {"appName": "busy-images"}) for _ in range(3)]
        looked = 0
        while any(item.is_under_way() for item in validating):
            assert server.do("platform.check")["checks"]["docker"] is True
            assert server.do("apps.status", {"appName": "busy-images"})["health"] == "stopped"
            looked += 1
    assert looked > 10
    known: list[str] = []
    for item in validating:
        answer = item.wait()
        assert answer is not None
        found = answer.result
        said = [one["problem"] for one in (*found["errors"], *found["warnings"]) if "/slow:" in one["problem"]]
        assert len(said) == MANY
        known += [one["problem"] for one in found["errors"]]
    assert any("did not answer within 5 s" in problem for problem in known), "who was asked first is not told"
