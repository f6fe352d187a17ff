"""A broker that lets in whom it knows, over TLS, and allows what it was told to: names, passwords and rights."""

import datetime
import ipaddress
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its way to export
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.broker.broker import Cluster

PASSWORDS = {"admin": "sesame-admin", "worker": "sesame-worker", "reader": "sesame-reader", "stranger": "sesame-stranger"}
"""Who is known. Only admin may do anything before rights are given."""


class Guarded:
    """The broker, and the file of the certificate that it shows."""

    def __init__(self, cluster: Cluster, ca: Path) -> None:
        self.address = cluster.bootstrap
        self._ca = ca
        self._admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0, **self.client("admin")})

    def client(self, user: str, password: str | None = None) -> dict[str, str]:
        """What somebody's client has to be told; [log.kafka] takes it as it is."""
        return client_of(self._ca, user, PASSWORDS[user] if password is None else password)

    def allow(self, user: str, kind: str, prefix: str, *operations: str) -> None:
        """Gives rights. kind: topic, group or transactional_id, all whose names begin so. Returns when they are in force."""
        self._bind(AclPermissionType.ALLOW, user, kind, prefix, operations)

    def deny(self, user: str, kind: str, prefix: str, *operations: str) -> None:
        """Takes rights away, whatever `allow` gave."""
        self._bind(AclPermissionType.DENY, user, kind, prefix, operations)

    def _bind(self, permission: AclPermissionType, user: str, kind: str, prefix: str, operations: Iterable[str]) -> None:
        bindings = [
            AclBinding(
                ResourceType[kind.upper()],
                prefix,
                ResourcePatternType.PREFIXED,
                f"User:{user}",
                "*",
                AclOperation[operation.upper()],
                permission,
            )
            for operation in operations
        ]
        for future in self._admin.create_acls(bindings).values():
            future.result()


def client_of(ca: Path, user: str, password: str) -> dict[str, str]:
    """librdkafka's keys for SASL over TLS."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
        "ssl.ca.location": str(ca),
    }


@contextmanager
def guarded() -> Iterator[Guarded]:
    """Starts one."""
    with tempfile.TemporaryDirectory(prefix="postroom-tls-") as folder:
        keystore, ca = _certificate(Path(folder))
        users = " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items())
        login = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="{PASSWORDS["admin"]}"'
        properties = {
            "listeners": "SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}",
            "advertised.listeners": "SASL_SSL://127.0.0.1:{port}",
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{login} {users};",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(ca),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The controller talks to itself without a name.
            "super.users": "User:admin;User:ANONYMOUS",
        }
        with Cluster(1, properties, client_of(ca, "admin", PASSWORDS["admin"])) as cluster:
            yield Guarded(cluster, ca)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself: key and certificate in one file, and the certificate alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    keystore, ca = folder / "keystore.pem", folder / "ca.pem"
    keystore.write_bytes(private + public)
    ca.write_bytes(public)
    return keystore, ca
