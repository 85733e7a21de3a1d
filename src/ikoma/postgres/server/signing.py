"""Makes the platform's own authority and signs certificates with it.

The library for it is large, and most starts find a certificate that still fits: it is loaded where one is made.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ikoma.durable import write_file

_YEARS = timedelta(days=3650)
_CLOCKS_DIFFER = timedelta(days=1)


def sign_certificate(folder: Path, names: Sequence[str]) -> bytes:
    """A new key and its certificate for a server of these names, as PEM text.

    Args:
        folder: of the authority, which is made where there is none: ca.crt and ca.key.
    """
    key, issuer = _obtain(folder)
    own = ec.generate_private_key(ec.SECP256R1())
    signed = (
        _begin_certificate("ikoma-postgres", issuer.subject, own)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _write_key(own) + signed.public_bytes(serialization.Encoding.PEM)


def _obtain(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Read the key and certificate, made now where there are none: the certificate is written last."""
    path = folder / "ca.crt"
    if not path.is_file():
        folder.mkdir(mode=0o711, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        # A name of its own, so that it is never taken for another platform's.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"IKOMA PostgreSQL {secrets.token_hex(4)}")])
        made = (
            _begin_certificate(None, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS, critical=True)
            .sign(key, hashes.SHA256())
        )
        write_file(folder / "ca.key", _write_key(key), mode=0o600)
        write_file(path, made.public_bytes(serialization.Encoding.PEM), mode=0o644)
    kept = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
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


def _begin_certificate(
    subject: str | None, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
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


def _write_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
