"""How many networks an app has, however often its services are deployed one by one."""

from __future__ import annotations

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp, compose, docker, docker_json, new_app
from tests.support import Server, eventually

NAMES = [f"s{number}" for number in range(6)]


def six(changed: int) -> str:
    """A web service in two networks and six more, of which these were changed, one after the other."""
    services = ""
    for number, name in enumerate(NAMES):
        lines = [f"image: {busybox_image()}", "init: true", "command: [sleep, infinity]", "networks: [front, back]"]
        lines += [f"environment: {{V: '{number < changed}'}}", "stop_grace_period: 1s"]
        services += f"  {name}:\n" + "".join(f"    {line}\n" for line in lines)
    text = compose(more="networks: [front]").replace("x-ikoma: {", f"{services}x-ikoma: {{")
    return f"{text}networks: {{front: {{}}, back: {{}}}}\n"


def networks(app: LiveApp) -> list[str]:
    return [item["Name"] for item in docker_json("network", "ls", "--filter", f"name={app.name}_")]


def test_services_that_are_deployed_one_by_one_do_not_use_up_the_networks_of_the_machine(server: Server) -> None:
    app = new_app(server, "live-networks")
    app.deploy("1", six(0))
    with app.loaded("1"):
        for number in range(1, 6):
            plan = {item["service"]: item["action"] for item in planned(app, six(number))}
            app.do("deploy.up")
            eventually(lambda: len(networks(app)) <= 8, "networks of old rollouts go")
            eventually(lambda: len(app.running()) == 7, "what was replaced has ended")
            assert plan[NAMES[number - 1]] == "replace"
    for name in ("web", *NAMES):  # who was kept and who was made find each other, both ways
        docker("exec", app.running("s0")[0], "nslookup", name) if name != "web" else None
        docker("exec", app.running(name)[0], "ping", "-c", "1", "-W", "5", "s4")
    app.do("deploy.down")


def planned(app: LiveApp, compose_file: str) -> list[dict[str, object]]:
    app.write("1", compose_file)
    return list(app.do("deploy.plan")["changes"])


def test_a_link_leads_to_what_serves_with_whom_has_it(server: Server) -> None:
    app = new_app(server, "live-links")
    back = f"  back:\n    image: {busybox_image()}\n    init: true\n    command: [sleep, infinity]\n"
    text = compose(more="links: ['back:database']\nenvironment: {V: '1'}").replace("x-ikoma: {", f"{back}x-ikoma: {{")
    app.deploy("1", text)
    for again in (text.replace("V: '1'", "V: '2'"), text.replace("infinity]", "infinity]\n    labels: {a: b}")):
        app.deploy("2", again)
        eventually(lambda: len(app.running()) == 2, "what was replaced has ended")
        docker("exec", app.running("web")[0], "ping", "-c", "1", "-W", "5", "database")
    app.do("deploy.down")
