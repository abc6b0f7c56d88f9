"""A real S3 server for the tests: SeaweedFS on loopback, with keys, over TLS or without, which tests may kill."""

import datetime as dt
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WEED = Path(sys.executable).with_name("weed")
BUCKET = "images"
STARTS_IN_S = 180
_FOREIGN = ("AWS_", "S3_")
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
_GRPC = 10_000
"""SeaweedFS speaks gRPC on each of its ports plus this."""


@dataclass
class S3Server:
    """One server. ``admin`` may do everything; ``identities`` are further keys and what each may do."""

    folder: Path
    tls: bool = False
    identities: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ports = _free_ports(len(_PORTS))
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_identities()
        if self.tls:
            _write_certificate(self.folder)

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._ports[-1]}"

    def environment(self, identity: str = "admin") -> dict[str, str]:
        """What a process needs to reach the server as one of its identities."""
        found = {
            "AWS_ACCESS_KEY_ID": identity,
            "AWS_SECRET_ACCESS_KEY": _secret(identity),
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-credentials"),
        }
        return found | ({"AWS_CA_BUNDLE": str(self.folder / "certificate.pem")} if self.tls else {})

    def client(self, identity: str = "admin") -> Any:
        """A plain client of boto3's, for what tests look at by themselves."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=identity,
            aws_secret_access_key=_secret(identity),
            region_name="us-east-1",
            verify=str(self.folder / "certificate.pem") if self.tls else None,
            config=Config(
                connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )

    def start(self) -> None:
        """Start, or start again with what is there, and wait until an object can be written and read."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {f"-{name}": port for name, port in zip(_PORTS, self._ports, strict=True)} | {
            "-dir": data,
            "-ip": "127.0.0.1",
            "-ip.bind": "127.0.0.1",
            "-admin.ui": "false",
            "-webdav": "false",
            "-s3.port.iceberg": 0,
            "-s3.port.lance": 0,
            "-s3.config": self.folder / "identities.json",
        }
        if self.tls:
            options |= {
                "-s3.port": _free_ports(1, self._ports)[0],
                "-s3.port.https": self._ports[-1],
                "-s3.cert.file": self.folder / "certificate.pem",
                "-s3.key.file": self.folder / "key.pem",
            }
        command = [str(WEED), "mini", *(f"{name}={value}" for name, value in options.items())]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self._wait()

    def kill(self) -> None:
        """As a power cut would: no farewell."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _wait(self) -> None:
        client, deadline = self.client(), time.monotonic() + STARTS_IN_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="is-it-there", Body=b"yes")
                if client.get_object(Bucket=BUCKET, Key="is-it-there")["Body"].read() == b"yes":
                    client.delete_object(Bucket=BUCKET, Key="is-it-there")
                    return
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
        raise RuntimeError(f"the S3 server did not start: {(self.folder / 'server.log').read_text()[-2000:]}")

    def _write_identities(self) -> None:
        actions = {"admin": ["Admin", "Read", "Write", "List", "Tagging"], **self.identities}
        identities = [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": _secret(name)}], "actions": allowed}
            for name, allowed in actions.items()
        ]
        (self.folder / "identities.json").write_text(json.dumps({"identities": identities}))


@contextmanager
def running_s3_server(
    folder: Path, *, tls: bool = False, identities: dict[str, list[str]] | None = None
) -> Iterator[S3Server]:
    server = S3Server(folder, tls, identities or {})
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder / "data", ignore_errors=True)


def fetch_all(server: S3Server, prefix: str, folder: Path) -> None:
    """Copy every object under a prefix into a folder."""
    client = server.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for found in page.get("Contents", ()):
            path = folder / found["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read())


def _secret(identity: str) -> str:
    return f"secret-of-{identity}"


def _free_ports(count: int, beside: Sequence[int] = ()) -> list[int]:
    """Ports that are free now, with free ones ``_GRPC`` above them, all other than those of ``beside``."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", 0))
            port = low.getsockname()[1]
            if port + _GRPC > 65_535:
                continue
            try:
                high.bind(("127.0.0.1", port + _GRPC))
            except OSError:
                continue
            if not {port - _GRPC, port, port + _GRPC} & {*found, *beside}:
                found.append(port)
    return found


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
