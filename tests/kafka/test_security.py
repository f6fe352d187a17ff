"""A broker that asks who we are, and lets not everybody do everything."""

import logging
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its way to export
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streams.errors import Fatal
from streams.log import TopicSpec
from streams.record import Draft
from tests.broker.broker import Cluster
from tests.broker.shared import demand
from tests.contract.waiting import records_from
from tests.kafka.conftest import Opened

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka-security")]

SECRET = "correct-horse"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
BROKER = {
    "listeners": "SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}",
    "advertised.listeners": "SASL_PLAINTEXT://127.0.0.1:{port}",
    "inter.broker.listener.name": "SASL_PLAINTEXT",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{PLAIN} required "
    f'username="admin" password="battery" user_admin="battery" user_postroom="{SECRET}";',
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin;User:ANONYMOUS",
}
SASL = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
ADMIN = SASL | {"sasl.username": "admin", "sasl.password": "battery"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A broker with a user `admin`, who may do anything, and `postroom`, who may do what he is allowed to."""
    demand()
    with Cluster(1, BROKER, ADMIN) as made:
        yield made


def _underscored(settings: dict[str, str]) -> dict[str, str]:
    return {key.replace(".", "_"): value for key, value in settings.items()}


def _us(password: str = SECRET) -> dict[str, str]:
    return _underscored(SASL | {"sasl.username": "postroom", "sasl.password": password})


def _allow(cluster: Cluster, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Lets the user `postroom` do it with whatever begins with that name."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, **ADMIN})
    binding = AclBinding(kind, name, ResourcePatternType.PREFIXED, "User:postroom", "*", operation, AclPermissionType.ALLOW)
    for future in admin.create_acls([binding]).values():
        future.result()


def test_a_wrong_password_is_fatal_and_said_nowhere(cluster: Cluster, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Fatal, match="uthentication") as caught:
        opened(bootstrap=cluster.bootstrap, debug="security,protocol", **_us("staple-gun")).topics()
    assert cluster.bootstrap in str(caught.value)
    assert "staple-gun" not in str(caught.value) + caplog.text


def test_what_we_are_not_allowed_is_fatal_and_names_it(cluster: Cluster, opened: Opened) -> None:
    """To see a topic, to write it, to read as the group, to work under the transactional id: each is refused until it is allowed."""
    prefix = f"mail-{uuid.uuid4().hex}"
    topic, group = f"{prefix}.raw", f"{prefix}.group"
    admin = opened(bootstrap=cluster.bootstrap, **_underscored(ADMIN))
    admin.create([TopicSpec(topic, 1)])
    log = opened(bootstrap=cluster.bootstrap, slot=prefix, **_us())
    with pytest.raises(Fatal, match=topic):
        log.append([Draft(topic, None, b"one")])
    _allow(cluster, ResourceType.TOPIC, prefix, AclOperation.DESCRIBE)
    with pytest.raises(Fatal, match=topic):
        log.append([Draft(topic, None, b"one")])
    _allow(cluster, ResourceType.TOPIC, prefix, AclOperation.WRITE)
    log.append([Draft(topic, None, b"one")])
    with pytest.raises(Fatal, match=prefix):
        log.append([Draft(topic, None, b"two"), Draft(topic, None, b"three")])
    with pytest.raises(Fatal, match=group):
        log.consumer(group, [topic])
    _allow(cluster, ResourceType.TRANSACTIONAL_ID, "postroom-", AclOperation.ALL)
    with pytest.raises(Fatal, match=topic):
        list(log.read(topic))
    _allow(cluster, ResourceType.TOPIC, prefix, AclOperation.READ)
    _allow(cluster, ResourceType.GROUP, prefix, AclOperation.READ)
    log.append([Draft(topic, None, b"two"), Draft(topic, None, b"three")])
    consumer = log.consumer(group, [topic])
    assert [record.value for record in records_from(consumer, 3)] == [b"one", b"two", b"three"]
    consumer.close()
