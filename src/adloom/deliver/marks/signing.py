"""The signer of a delivery: a certificate and a key in PEM files, or a command that signs in place of the key."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adloom.core.errors import SettingInvalid
from adloom.deliver.marks.credentials import EXTRA, is_installed
from adloom.edges.settings import SecretText

CERTIFICATE, KEY, SIGNER = "ADLOOM_C2PA_CERTIFICATE", "ADLOOM_C2PA_KEY", "ADLOOM_C2PA_SIGNER"

SIGNATURE_S = 60.0
"""How long a command may take for one signature: a key service answers within a second."""

_RAW_BYTES = 64


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs. ``key`` is None where a ``command`` does."""

    certificate: str
    key: SecretText | None = None
    command: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The certificate by its SHA-256, 16 digits: another certificate makes other files."""
        return hashlib.sha256(self.certificate.encode()).hexdigest()[:16]

    async def sign(self, content: bytes) -> bytes:
        """A signature by the command: ECDSA P-256 over SHA-256, as 64 bytes. Raises SettingInvalid."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            async with asyncio.timeout(SIGNATURE_S):
                signature, _ = await process.communicate(content)
        except (OSError, TimeoutError) as error:
            raise SettingInvalid(f"{SIGNER} does not sign: {error or 'it took too long'}", remedy=_REMEDY) from error
        if process.returncode:
            raise SettingInvalid(f"{SIGNER} ended with exit code {process.returncode}", remedy=_REMEDY)
        try:
            return signature if len(signature) == _RAW_BYTES else _raw(signature)
        except (ValueError, IndexError) as error:
            raise SettingInvalid(
                f"{SIGNER} wrote {len(signature)} bytes, no ES256 signature", remedy=_REMEDY
            ) from error


_REMEDY = "It gets the bytes to sign on stdin and writes the ES256 signature, raw or DER, to stdout."


def _raw(der: bytes) -> bytes:
    """Two numbers in DER as 32 bytes each. Raises ValueError or IndexError for anything else."""
    if der[0] != 0x30 or der[1] != len(der) - 2:  # noqa: PLR2004 - a sequence
        raise ValueError("not a sequence")
    numbers, place = [], 2
    for _ in range(2):
        if der[place] != 0x02:  # noqa: PLR2004 - a number
            raise ValueError("not a number")
        start = place + 2
        place = start + der[place + 1]
        numbers.append(int.from_bytes(der[start:place], "big").to_bytes(32, "big"))
    return b"".join(numbers)


def read_signing(environ: Mapping[str, str]) -> Signing | None:
    """The signer that the environment names; None if it names none. Raises SettingInvalid for one that cannot sign."""
    certificate, key, command = (environ.get(name, "").strip() for name in (CERTIFICATE, KEY, SIGNER))
    if not (certificate or key or command):
        return None
    if not certificate or bool(key) == bool(command):
        raise SettingInvalid(
            f"{CERTIFICATE} goes with exactly one of {KEY} and {SIGNER}",
            remedy="Set both to PEM files, or unset all of them: `adloom keys new my-keys` makes a pair.",
        )
    if not is_installed():
        raise SettingInvalid(
            f"{CERTIFICATE} is set, but nothing that signs is installed", remedy=f"pip install '{EXTRA}', or unset it."
        )
    chain = _pem(CERTIFICATE, certificate, "CERTIFICATE")
    if command:
        return Signing(chain, command=tuple(shlex.split(command)))
    return Signing(chain, SecretText(_pem(KEY, key, "PRIVATE KEY")))


def _pem(name: str, path: str, what: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingInvalid(f"{name}: {path} cannot be read: {reason}", remedy="Name a PEM file.") from error
    if f"-----BEGIN {what}" not in text and f" {what}-----" not in text:
        raise SettingInvalid(f"{name}: {path} holds no {what.lower()}", remedy="Name a PEM file.")
    return text
