"""Makes a signing certificate: a root and a leaf as C2PA requires them, valid at once.

For others a self-made root is *valid*, never *trusted*: that takes a certificate of an authority on their list. Anyone
who has ``root.pem`` can choose to trust it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adloom.core.errors import InputError

ROOT_DAYS = 3650
LEAF_DAYS = 365
CLOCK_SKEW = timedelta(hours=1)
"""A certificate is valid from slightly before its creation: the clock of whoever checks it may be slow."""

CERTIFICATE, KEY, ROOT, ROOT_KEY = "certificate.pem", "key.pem", "root.pem", "root-key.pem"


def write_keys(folder: Path, organisation: str, now: datetime | None = None) -> None:
    """Make a root and a leaf in a folder: four PEM files, keys for their owner alone.

    Raises InputError when one of the files is there already, or the folder cannot be written.
    """
    if taken := [name for name in (CERTIFICATE, KEY, ROOT, ROOT_KEY) if os.path.lexists(folder / name)]:
        raise InputError(
            f"{folder} holds keys already: {', '.join(taken)}. Nothing was written.",
            remedy="Choose a new folder: adloom keys new my-keys",
        )
    made = made_keys(organisation, now or datetime.now(UTC))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in made.items():
            mode = 0o600 if name in (KEY, ROOT_KEY) else 0o644
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}", remedy="Choose another folder.") from error


def made_keys(organisation: str, now: datetime) -> dict[str, bytes]:
    """The content of the four files, by name. ``certificate.pem`` is the chain, the leaf first."""
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, leaf_name = _name(organisation, "test root"), _name(organisation, "content signing")
    root = (
        _certificate(root_name, root_name, root_key.public_key(), now, ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(leaf_name, root_name, leaf_key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    root_pem = root.public_bytes(serialization.Encoding.PEM)
    return {
        ROOT_KEY: _key_pem(root_key),
        ROOT: root_pem,
        KEY: _key_pem(leaf_key),
        CERTIFICATE: leaf.public_bytes(serialization.Encoding.PEM) + root_pem,
    }


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(organisation: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organisation} {common_name}"),
        ]
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
