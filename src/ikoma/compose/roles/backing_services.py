"""Services that stand behind others and are never made public by a guess: databases, queues, stores of objects.

They are told by their image, by what it is built on, and by where their data lies. Where a name leaves a doubt a
service counts as one: a warning then asks, which harms nobody. (database_images.py says who gets variables.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ikoma.compose.dockerfiles import find_stage
from ikoma.compose.model import ComposeModel, Service

_DATABASES = re.compile(
    r"postgres|postgresql|pg|postgis|timescaledb|timescale|pgvector|pgvecto|pgbouncer|pgpool|pgcat|"
    r"patroni|spilo|alloydb|yugabyte|yugabytedb|cockroach|cockroachdb|citus|cnpg|stolon|supavisor|"
    r"mysql|mysqld|mariadb|percona|pxc|tidb|proxysql|maxscale|vitess|singlestore|oceanbase|mongo|"
    r"mongodb|ferretdb|redis|valkey|keydb|dragonfly|dragonflydb|memcached|garnet|clickhouse|"
    r"elasticsearch|opensearch|solr|cassandra|scylla|scylladb|neo4j|arangodb|arango|couchdb|couchbase|"
    r"influxdb|influxdb2|influxdb3|questdb|rethinkdb|surrealdb|dgraph|orientdb|ravendb|tarantool|immudb|"
    r"mssql|sqlserver|oracle|firebird|db2|edgedb|gel|rqlite|libsql|sqld|qdrant|weaviate|milvus|"
    r"chroma|chromadb|meilisearch|typesense|manticore|manticoresearch|sphinxsearch|victoriametrics|"
    r"victorialogs|janusgraph|memgraph|falkordb|trino|druid|pinot|hbase|foundationdb|minio|rustfs|"
    r"garage|seaweedfs|ceph|etcd|zookeeper|consul|rabbitmq|kafka|redpanda|nats|mosquitto|emqx|pulsar|"
    r"activemq|artemis|vernemq|zeromq|beanstalkd"
)
"""Words of the names of images that keep an app's data, or pass its messages on."""

_CLIENTS = re.compile(
    r"admin|adminer|api|app|backup|backups|bi|browser|client|clients|commander|console|dashboard|"
    r"docs|express|exporter|gateway|gui|insight|insights|manager|metrics|migrate|migration|migrations|"
    r"monitor|mc|operator|rest|studio|ui|viewer|web|webui|explorer|proxyadmin|hq|kibana|dashboards"
)
"""Words that make a program beside a database of such a name: mongo-express, kafka-ui."""

_IN_GENERAL = frozenset(("server", "db", "database", "free", "xe", "core", "standalone", "single", "all"))
"""Last names that say nothing; the one before them does, as in mssql/server."""

_DATA = re.compile(
    r"(?:/bitnami)?/var/lib/(?:postgresql|mysql|mariadb|clickhouse|redis|valkey|rabbitmq|neo4j|cassandra|influxdb2?)\b"
    r"|/bitnami/(?:postgresql|mysql|mariadb|mongodb|redis|valkey|clickhouse|elasticsearch|rabbitmq|kafka|minio)\b"
    r"|/data/(?:db|configdb)\Z|/usr/share/(?:elasticsearch|opensearch)/data\b|/home/postgres/pgdata\b"
    r"|/cockroach/cockroach-data\b|/opt/couchdb/data\b|/qdrant/storage\b|/meili_data\b"
)
_EXPOSE = re.compile(r"^[ \t]*EXPOSE[ \t]+(.+)$", re.IGNORECASE | re.MULTILINE)

_TOOLS = re.compile(
    r"adminer|phpmyadmin|pgadmin[0-9]*|pgweb|pghero|mongo-express|redis-?commander|redisinsight|redis-insight|dbgate"
    r"|cloudbeaver|mailhog|mailpit|maildev|mailcatcher|mailslurper|smtp4dev|kafka-ui|kafdrop|akhq|rabbitmq-?exporter"
    r"|flower|dozzle|cadvisor|node[-_]exporter|[a-z0-9]+[-_]exporter|opensearch-dashboards|kibana|elasticvue|cerebro|jaeger|spotlight"
)
"""Last parts of names of images that developers and operators look into: not what an app's people come for."""

_TOOL_COMMANDS = re.compile(r"\b(?:(?:prisma|drizzle-kit)\s+studio|celery\b.*\bflower)\b", re.DOTALL)
"""Commands that make one of an image that is also the app's."""

_FASTCGI = re.compile(r"(?:^|[-_./:@])fpm(?:$|[-_./:@\d])|\bphp-fpm\d*(?:\.\d+)?\b", re.IGNORECASE)
"""Words that name a server of FastCGI, which a web server has to stand in front of."""


def is_tool(service: Service) -> bool:
    """Whether a service is, by its image or command, one that only those look into who run the app."""
    if _TOOL_COMMANDS.search(" ".join(service.command)):
        return True
    last = service.image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return service.build is None and _TOOLS.fullmatch(last.lower()) is not None


def speaks_fastcgi(service: Service, dockerfile: str = "") -> bool:
    """Whether a service is, by its image, its command or what it is built on, php-fpm: that is no HTTP."""
    build = service.build
    said = (service.image, build.dockerfile if build else "", find_stage(build, dockerfile).base)
    return any(map(_FASTCGI.search, (*said, " ".join((*service.entrypoint, *service.command)))))


def list_exposed_ports(dockerfile: str) -> list[str]:
    """The ports that a Dockerfile says its image listens on."""
    return [port for line in _EXPOSE.findall(dockerfile) for port in line.split()]


def is_backing_service(model: ComposeModel, name: str, dockerfiles: Mapping[str, str] | None = None) -> bool:
    """Whether a service of a resolved model is a database, a queue or a store of objects.

    Args:
        dockerfiles: service → text of its Dockerfile, where that is no part of the model.
    """
    service = model.services[name]
    if any(_DATA.match(mount.target) for mount in service.mounts):
        return True
    builder = find_builder(model, name)
    if builder is None:
        return is_backing_image(service.image)
    return is_backing_image(find_stage(builder.build, (dockerfiles or {}).get(builder.name, "")).base)


def is_backing_image(reference: str) -> bool:
    """Whether an image's name, with or without registry and tag, is that of a database, a queue or a store."""
    path = reference.partition("@")[0]
    head, slash, last = path.rpartition("/")
    parts = [*head.split("/"), last.partition(":")[0]] if slash else [path.partition(":")[0]]
    named = parts[-2] if len(parts) > 1 and parts[-1].lower() in _IN_GENERAL else parts[-1]
    words = set(re.split(r"[-_.]", named.lower()))
    return any(map(_DATABASES.fullmatch, words)) and not any(map(_CLIENTS.fullmatch, words))


def find_builder(model: ComposeModel, name: str) -> Service | None:
    """The service that builds what a service runs; None where its image comes from elsewhere."""
    service = model.services[name]
    if service.build is not None:
        return service
    return next((item for item in model.services.values() if item.build and item.image == service.image), None)
