"""The certificate by which PostgreSQL is known, and the authority of this platform alone that signs it.

The authority is made once and stays, so that apps can keep its certificate. What it signs is made anew at each start.
"""

from __future__ import annotations

import ipaddress
import secrets
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ikoma.durable import write_file

_YEARS = timedelta(days=3650)
_CLOCKS_DIFFER = timedelta(days=1)


class Authority:
    """The platform's own, under `folder`: ca.crt, which anyone may read, and ca.key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def certificate(self) -> str | None:
        """The certificate that apps verify by, as PEM text; None before it was made."""
        path = self._folder / "ca.crt"
        return path.read_text() if path.is_file() else None

    def context(self, names: Iterable[str]) -> ssl.SSLContext:
        """For a server that is called so, by name or address."""
        key, issuer = self._obtain()
        own = ec.generate_private_key(ec.SECP256R1())
        signed = (
            _begun("ikoma-postgres", issuer.subject, own)
            .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        file = self._folder / "server.pem"
        write_file(file, _written(own) + signed.public_bytes(serialization.Encoding.PEM), mode=0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(file)
        return context

    def _obtain(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """Read the key and certificate, made now where there are none: the certificate is written last."""
        path = self._folder / "ca.crt"
        if not path.is_file():
            self._folder.mkdir(mode=0o711, exist_ok=True)
            key = ec.generate_private_key(ec.SECP256R1())
            # A name of its own, so that it is never taken for another platform's.
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"IKOMA PostgreSQL {secrets.token_hex(4)}")])
            made = (
                _begun(None, name, key)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_SIGNS, critical=True)
                .sign(key, hashes.SHA256())
            )
            write_file(self._folder / "ca.key", _written(key), mode=0o600)
            write_file(path, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
        kept = serialization.load_pem_private_key((self._folder / "ca.key").read_bytes(), password=None)
        assert isinstance(kept, ec.EllipticCurvePrivateKey)
        return kept, x509.load_pem_x509_certificate(path.read_bytes())


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _begun(subject: str | None, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """A certificate of ten years; of the issuer itself where no subject is given."""
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]) if subject else issuer
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _YEARS)
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _written(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
