"""A bucket of an S3 service as a place off this machine. Loaded in a child process: the client takes 40 MB.

Each object goes with its SHA-256, which the service compares; where days are set, it is locked (Object Lock,
compliance): nobody can delete it before, this server included.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from ikoma.apps.offsite.store import StoredObject
from ikoma.errors import OffsiteMissing, OffsiteRefused, OffsiteUnreachable
from ikoma.offsite_place import OffsitePlace

_PIECE = 1 << 20
_NOT_THERE = {"NoSuchKey", "404", "NotFound"}
_DENIED = {"401", "403"}
_NO_LOCK = {"InvalidRequest", "InvalidArgument", "NotImplemented"}


class S3Store:
    """Objects of a bucket, below a prefix."""

    def __init__(self, place: OffsitePlace) -> None:
        assert place.secret is not None
        self._bucket = place.host
        self._prefix = f"{place.path}/" if place.path else ""
        self._lock_days = place.lock_days
        self._where = f"The bucket {place.host}"
        session = botocore.session.Session()
        session.set_credentials(place.key_id, place.secret.reveal())
        self._client: Any = session.create_client(
            "s3",
            region_name=place.region,
            endpoint_url=place.endpoint,
            verify=str(place.ca_file) if place.ca_file else None,
            config=Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"mode": "standard", "max_attempts": 3},
                s3={
                    "addressing_style": "path" if place.endpoint else "auto",
                    "payload_signing_enabled": False,  # the checksum is signed: nothing has to be hashed once more
                },
                request_checksum_calculation="when_required",  # what we send has one; older services know no other
                response_checksum_validation="when_required",
            ),
        )

    def put(self, name: str, content: bytes, digest: bytes) -> None:
        more: dict[str, Any] = {}
        if self._lock_days:
            until = datetime.now(UTC) + timedelta(days=self._lock_days)
            more = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        checksum = base64.b64encode(digest).decode()
        with self._translated(name):
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + name, Body=content, ChecksumSHA256=checksum, **more
            )

    def read(self, name: str) -> Iterator[bytes]:
        with self._translated(name):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            try:
                yield from body.iter_chunks(_PIECE)
            finally:
                body.close()

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._translated(prefix):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"].removeprefix(self._prefix), item["Size"])

    def delete(self, name: str) -> None:
        with self._translated(name):
            if not self._lock_days:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
                return
            # A bucket that locks keeps every version: without its id, a deletion frees nothing.
            key = self._prefix + name
            found = self._client.list_object_versions(Bucket=self._bucket, Prefix=key)
            for item in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())):
                if item["Key"] == key:
                    self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=item["VersionId"])

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            code = str(told.get("Code", ""))
            status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
            if code in _NOT_THERE:
                raise OffsiteMissing(f"There is no {name} off this machine.") from None
            if self._lock_days and code in _NO_LOCK:
                raise OffsiteRefused(
                    f"{self._where} does not lock what it is given: {code}.",
                    hint="Make a bucket with Object Lock, or unset OFFSITE_LOCK_DAYS.",
                ) from None
            if code == "NoSuchBucket" or status in _DENIED:
                raise OffsiteRefused(f"{self._where} refuses: {code}: {told.get('Message', '')[:200]}") from None
            raise OffsiteUnreachable(f"{self._where} fails: {code}: {told.get('Message', '')[:200]}") from None
        except (BotoCoreError, HTTPClientError) as error:
            raise OffsiteUnreachable(f"{self._where} cannot be reached: {str(error)[:200]}") from None
