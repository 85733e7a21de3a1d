"""Find the services of an app that are databases themselves: by their image, its base, or the place of their rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ikoma.compose.dockerfiles import find_stage
from ikoma.compose.model import ComposeModel, Service
from ikoma.compose.roles.backing_services import find_builder

_ENDS = r"([-_.]?v?[0-9]+)*([-_](alpine|bookworm|trixie|ha|repmgr|galera|cluster|server|db|vectorchord|all))*"
_SQL = re.compile(
    r"(.*[-_])?(postgres(ql)?|postgis|pgvector|pgvecto[-_]rs|timescaledb|citus|paradedb|alloydb\w*|spilo|pgautoupgrade"
    r"|cockroach|yugabyte|mysql|mariadb|percona|mssql|azure-sql-edge|firebird)" + _ENDS
)
_OTHERS = re.compile(
    r"(.*[-_])?(mongo(db)?|redis([-_]stack)?|valkey|keydb|dragonfly|memcached|clickhouse|influxdb|couchdb|cassandra"
    r"|scylla|elasticsearch|opensearch|neo4j|meilisearch|typesense|qdrant|weaviate|milvus|surrealdb|questdb|arangodb"
    r"|rethinkdb|ferretdb|etcd)" + _ENDS
)
_WHOLE = re.compile(r"mcr\.microsoft\.com/mssql/server|container-registry\.oracle\.com/(database|mysql)/.*")
_ROWS = re.compile(r"/(var/lib|bitnami|var/opt|home/postgres)/(pgdata|postgres(ql)?|mysql|mariadb|mssql)(/.*)?")


def fill_in_builds(model: ComposeModel) -> dict[str, Service]:
    """The services of a resolved model, each with the build of what it runs, also where another service builds that."""
    builders = {name: find_builder(model, name) for name in model.services}
    return {
        name: service if (other := builders[name]) is None else replace(service, build=other.build)
        for name, service in model.services.items()
    }


def is_database(service: Service) -> bool:
    """Whether a service is a database of any kind."""
    return keeps_rows(service) or any(_OTHERS.fullmatch(_strip_registry(image)) for image in _list_images(service))


def keeps_rows(service: Service) -> bool:
    """Whether a service is a database that is asked in SQL."""
    if any(
        _SQL.fullmatch(_strip_registry(image)) or _WHOLE.fullmatch(_strip_tag(image)) for image in _list_images(service)
    ):
        return True
    return any(_ROWS.fullmatch(mount.target.rstrip("/")) for mount in service.mounts if not mount.read_only)


def _list_images(service: Service) -> Iterator[str]:
    """List the service's image, and what it is built on."""
    yield service.image
    if service.build is not None:
        yield find_stage(service.build).base


def _strip_tag(image: str) -> str:
    """The name of an image, without digest and tag."""
    name = image.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def _strip_registry(image: str) -> str:
    return _strip_tag(image).rpartition("/")[2].lower()
