"""Encryption with age, of pieces that fit into memory. A server seals with public keys; to open takes a secret one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ikoma.errors import InvalidSetting, OffsiteDamaged, OffsiteSealed


class Seal:
    """Encrypts to each of the recipients."""

    def __init__(self, recipients: Sequence[str]) -> None:
        """Raises InvalidSetting where one is no public key."""
        self._recipients = [_parse_recipient(text) for text in recipients]

    def close(self, content: bytes) -> bytes:
        """The content, encrypted, as a whole age file."""
        import pyrage  # here and below: not for the server's own process

        sealed = io.BytesIO()
        pyrage.encrypt_io(io.BytesIO(content), sealed, self._recipients)  # half the time of pyrage.encrypt
        return sealed.getvalue()


class Opener:
    """Opens what was sealed for one of its secret keys."""

    def __init__(self, file: Path | None) -> None:
        """
        Args:
            file: as age-keygen writes it, or an ssh key without a passphrase; None opens nothing.

        Raises:
            OffsiteSealed: there is no such file, or no secret key in it.
        """
        self._file = file
        self._identities = _read_identities(file) if file is not None else []

    def open(self, sealed: bytes, what: str) -> bytes:
        """The content.

        Raises:
            OffsiteSealed: it was sealed for others.
            OffsiteDamaged: it is no whole age file.
        """
        if not self._identities:
            raise OffsiteSealed(f"{what} is encrypted, and this server holds no key that opens it.")
        import pyrage

        try:
            return bytes(pyrage.decrypt(sealed, self._identities))
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise OffsiteSealed(f"{what} is encrypted for others: no key in {self._file} opens it.") from None
            raise OffsiteDamaged(f"{what} cannot be decrypted: it is not what was sealed.") from None


def _parse_recipient(text: str) -> Any:
    import pyrage

    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise InvalidSetting(f"OFFSITE_AGE_RECIPIENTS holds {text!r}, which is no public key.") from None


def _read_identities(file: Path) -> list[Any]:
    import pyrage

    try:
        content = file.read_bytes()
        if b"PRIVATE KEY-----" in content:
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise OffsiteSealed(f"The key file {file} cannot be read: {error.strerror}.") from error
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        raise OffsiteSealed(f"{file} holds no secret key of age (AGE-SECRET-KEY-1…).")
    return found
