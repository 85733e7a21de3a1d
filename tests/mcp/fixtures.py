"""All fixtures that the protocol's conformance suite calls for, by name, for any server to mount.

TOOLS                     the tools that need nothing but the SDK's context
change_tools(bus)         two more, which announce changes on a server's own subscription bus
Tasks().tools             the tools of the Tasks extension; Tasks().attach(server) adds its methods
FixtureResources(), FixturePrompts()   the handlers of resources/… and prompts/…, completion/complete
"""

from tests.mcp.fixture import Fixture
from tests.mcp.fixtures_input import ASKING_TOOLS
from tests.mcp.fixtures_resources import FixturePrompts, FixtureResources
from tests.mcp.fixtures_tools import PLAIN_TOOLS, change_tools
from tests.mcp.tasks_reference import Tasks

__all__ = ["TOOLS", "Fixture", "FixturePrompts", "FixtureResources", "Tasks", "change_tools"]

TOOLS: dict[str, Fixture] = {**PLAIN_TOOLS, **ASKING_TOOLS}
