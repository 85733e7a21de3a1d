"""The key by which this server knows its own backups: what it signed was made here, and is as it was made.

A dump can carry code, and a tar file any file: whoever may write to BACKUPS_ROOT alone must not be able to hand one in.
So the manifest of a whole backup and the record of a dump are one kind of file: what is told, the public key, and the
signature over it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from ikoma.durable import open_whole_file
from ikoma.errors import BackupDamaged, BackupForeign


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """The facts of a manifest, as somebody signed them, and whose public key it was, in hexadecimal."""

    told: Mapping[str, Any]
    key: str


def read_signed(content: bytes, what: str) -> SignedManifest:
    """Read a manifest, whoever signed it.

    Raises:
        BackupDamaged: it cannot be read, or is not what was signed.
    """
    try:
        stored = orjson.loads(content)
        told, key, signature = dict(stored["manifest"]), str(stored["key"]), stored["signature"]
    except (ValueError, TypeError, KeyError) as error:
        raise BackupDamaged(f"The manifest of {what} cannot be read.") from error
    check_signature(orjson.dumps(told, option=orjson.OPT_SORT_KEYS), key, signature, what)
    return SignedManifest(told, key)


def make_fingerprint(public: str) -> str:
    """Shorten a public key to a name of four groups of four."""
    digest = hashlib.sha256(bytes.fromhex(public)).hexdigest()
    return "-".join(digest[at : at + 4] for at in range(0, 16, 4))


def check_signature(content: bytes, public: str, signature: str, what: str) -> None:
    """Refuse what is not as it was signed, whoever signed it.

    Raises:
        BackupDamaged: it is not what was signed.
    """
    if not (isinstance(public, str) and isinstance(signature, str) and _is_signed(content, public, signature)):
        raise BackupDamaged(f"The manifest of {what} is not what was signed.")


@lru_cache(maxsize=1024)  # each list of backups reads all of them
def _is_signed(content: bytes, public: str, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=4)  # each manifest of a list is compared with it
def _derive_public(private: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw().hex()


class BackupKey:
    """An Ed25519 key in a file of the server's state, made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, content: bytes) -> tuple[str, str]:
        """The public key and the signature, as hexadecimal text."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # large, and rarely needed

        key = Ed25519PrivateKey.from_private_bytes(self._obtain())
        return key.public_key().public_bytes_raw().hex(), key.sign(content).hex()

    def write_signed(self, told: Mapping[str, Any]) -> bytes:
        """The text of a manifest, signed."""
        key, signature = self.sign(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
        return orjson.dumps({"manifest": told, "key": key, "signature": signature}, option=orjson.OPT_INDENT_2)

    def check(self, content: bytes, public: str, signature: str, what: str) -> None:
        """Refuse what this server has not signed.

        Raises:
            BackupForeign: it is signed by another key.
            BackupDamaged: it is not what was signed.
        """
        self.require_own(public, what)
        check_signature(content, public, signature, what)

    def require_own(self, public: str, what: str) -> None:
        """Raises BackupForeign where another key has signed it."""
        if public != self.public:
            raise BackupForeign(
                f"{what} was signed by another server.",
                hint="It stays where it is. An admin who trusts it can have its database: db.restore with `foreign`.",
            )

    @property
    def public(self) -> str:
        """The public key, in hexadecimal."""
        return _derive_public(self._obtain())

    @property
    def fingerprint(self) -> str:
        """A short name of the key, for a person to compare."""
        return make_fingerprint(self.public)

    def _obtain(self) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not self._path.is_file():
            made = Ed25519PrivateKey.generate().private_bytes_raw()
            with suppress(FileExistsError), open_whole_file(self._path, mode=0o600, replace=False) as stream:
                stream.write(made)
        return self._path.read_bytes()
