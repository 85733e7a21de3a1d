"""The key by which this server knows its own backups: what it signed was made here, and is as it was made.

A dump can carry code, and a tar file any file: whoever may write to BACKUPS_ROOT alone must not be able to hand one in.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from ikoma.durable import open_whole_file
from ikoma.errors import BackupDamaged, BackupForeign


def make_fingerprint(public: str) -> str:
    """Shorten a public key to a name of four groups of four."""
    digest = hashlib.sha256(bytes.fromhex(public)).hexdigest()
    return "-".join(digest[at : at + 4] for at in range(0, 16, 4))


def check_signature(content: bytes, public: str, signature: str, what: str) -> None:
    """Refuse what is not as it was signed, whoever signed it.

    Raises:
        BackupDamaged: it is not what was signed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content)
    except (InvalidSignature, ValueError, TypeError):
        raise BackupDamaged(f"The manifest of {what} is not what was signed.") from None


class BackupKey:
    """An Ed25519 key in a file of the server's state, made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, content: bytes) -> tuple[str, str]:
        """The public key and the signature, as hexadecimal text."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # large, and rarely needed

        key = Ed25519PrivateKey.from_private_bytes(self._obtain())
        return key.public_key().public_bytes_raw().hex(), key.sign(content).hex()

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
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._obtain()).public_key().public_bytes_raw().hex()

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
