"""Makes librdkafka's clients for one cluster, and gives their errors and log lines our words, without secrets."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.cores import anywhere
from streams.errors import Fatal, LogError
from streams.kafka.errors import AWAY, translated
from streams.kafka.settings import CONSUMER, DELIVERY_MS, FIXED, LINGER_MS, OURS, PRODUCER, TRANSACTION_MS

C = TypeVar("C")

_SLICE = 1.0
"""Seconds of one try of a call that can be resumed."""

_HUNG = 5.0
"""Seconds beyond its time limit after which a call is taken to never return."""

_PRODUCING = ("enable.idempotence", "acks", "partitioner")
_CONSUMING = {key: value for key, value in FIXED.items() if key not in _PRODUCING}
_QUIET: Mapping[str, str | int] = {"log_level": 2}
_SECRET = re.compile(r"password|passphrase|secret|key\.pem|sasl\.oauthbearer\.config|token")
_LOG = logging.getLogger("streams.kafka.librdkafka")


class Words(logging.Filter):
    """Keeps secrets out of librdkafka's log lines, and lets a line that is said again and again through once a minute."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        text = record.getMessage()
        # "X is a consumer property and will be ignored by this producer": one [log.kafka] serves both.
        if "CONFWARN" in text:
            return False
        now = time.monotonic()
        kind = re.sub(r"\d+", "0", text)
        if now - self._said.get(kind, -60.0) < 60:
            return False
        if len(self._said) > 1000:
            self._said.clear()
        self._said[kind] = now
        record.msg, record.args = self._redact(text), ()
        return True


class Clients:
    """Makes clients of one cluster.

    bootstrap: host:port, several by commas. config: any of librdkafka's settings, by its names. client: how the broker's logs
    name us. Raises Fatal for a setting that is fixed (`FIXED`, `OURS`); a client that is made raises Fatal for one that librdkafka refuses.
    """

    def __init__(self, bootstrap: str, config: Mapping[str, str], client: str) -> None:
        for key, value in config.items():
            if key in OURS or FIXED.get(key, value) != value:
                raise Fatal(f"[log.kafka] {key} cannot be set: the log relies on {FIXED.get(key, 'its own')}")
        self.bootstrap = bootstrap
        self._common: dict[str, str | int] = {"bootstrap.servers": bootstrap, "client.id": client, "allow.auto.create.topics": "false"}
        self._user = dict(config)
        self._secrets = sorted((value for key, value in config.items() if _SECRET.search(key) and value), key=len, reverse=True)
        self._logger = _LOG.getChild(str(id(self)))
        self._logger.addFilter(Words(self.redact))
        self._lock = Lock()
        self._diagnosed: tuple[float, KafkaError | None] = (-60.0, None)

    def redact(self, text: str) -> str:
        """The text without any secret that stands in the settings."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def admin(self) -> AdminClient:
        """A client that asks and orders. Nobody polls it, so it logs nothing: its lines would heap up."""
        return self._make(lambda conf: AdminClient(conf, logger=self._logger), {"log_level": 2})

    def consumer(self, group: str, **callbacks: Callable[..., object]) -> Consumer:
        """A consumer that works for a group, and is polled all the time."""
        return self._make(lambda conf: Consumer(conf | callbacks, logger=self._logger), {**CONSUMER, **_CONSUMING, "group.id": group})

    def reader(self, *, wait_ms: int) -> Consumer:
        """A consumer that reads without a group. Nobody polls it all the time, so it logs nothing. wait_ms: how long the broker holds
        a fetch that finds nothing."""
        more: dict[str, str | int] = {"fetch.wait.max.ms": wait_ms, "queued.max.messages.kbytes": 8_192}
        return self._make(
            lambda conf: Consumer(conf, logger=self._logger), {**CONSUMER, **_CONSUMING, **more, **_QUIET, "group.id": "postroom-reader"}
        )

    def outsider(self, group: str, level: str) -> Consumer:
        """A consumer that names a group and never joins it. level: its isolation level; read_committed waits for transactions that are
        about to move the group."""
        more: dict[str, str | int] = {"isolation.level": level, "retry.backoff.ms": 10, "retry.backoff.max.ms": 100}
        return self._make(lambda conf: Consumer(conf, logger=self._logger), {**_CONSUMING, **more, **_QUIET, "group.id": group})

    def producer(
        self,
        transactional_id: str | None = None,
        *,
        time_ms: int | None = None,
        every_report: bool = True,
        **callbacks: Callable[..., object],
    ) -> Producer:
        """An idempotent producer; a transactional one when it has an id. time_ms: after so long a record or transaction has failed, ours
        unless told. every_report: whether deliveries are told, or failures alone, which saves a call back into Python for each record."""
        time_ms = time_ms or (DELIVERY_MS if transactional_id is None else TRANSACTION_MS)
        keys: dict[str, str | int] = {key: FIXED[key] for key in _PRODUCING} | {"delivery.timeout.ms": time_ms}
        if transactional_id is not None:
            keys |= {"transactional.id": transactional_id, "transaction.timeout.ms": time_ms, "linger.ms": LINGER_MS}
        if not every_report:
            keys["delivery.report.only.error"] = True
        return self._make(lambda conf: Producer(conf | callbacks, logger=self._logger), {**PRODUCER, **keys})

    def error(self, exception: KafkaException, doing: str) -> LogError:
        """Our error for a client's. doing: what, and to which topic or group. Where no broker answered, a fresh connection
        finds out why (1 s at most), and the text names the address."""
        found = None
        if exception.args[0].code() in AWAY:
            found = self.diagnose()
            doing = f"{doing}: no answer from {self.bootstrap} ([log] url)" if found else doing
        return translated(exception, doing, found=found, redact=self.redact)

    @contextmanager
    def border(self, doing: str) -> Iterator[None]:
        """Within it a client's error comes out as ours."""
        try:
            yield
        except KafkaException as exception:
            raise self.error(exception, doing) from exception

    def diagnose(self) -> KafkaError | None:
        """Why no broker answers, as a fresh connection finds: None when one does answer. Takes 1 s at most; asks once in 5 s."""
        with self._lock:
            if time.monotonic() - self._diagnosed[0] > 5:
                self._diagnosed = (time.monotonic(), self._probe())
            return self._diagnosed[1]

    def _probe(self) -> KafkaError | None:
        heard: list[KafkaError] = []
        probe = self._make(lambda conf: Producer(conf | {"error_cb": heard.append}, logger=self._logger), {"log_level": 2})
        deadline = time.monotonic() + 1.0
        while True:
            try:
                probe.list_topics(timeout=0.2)
            except KafkaException as exception:
                probe.poll(0)
                told = [error for error in heard if error.code() != KafkaError._ALL_BROKERS_DOWN]
                if told or time.monotonic() > deadline:
                    return told[0] if told else exception.args[0]
            else:
                return None

    def _make(self, make: Callable[[dict[str, Any]], C], settings: Mapping[str, str | int]) -> C:
        """Makes a client; ours by default, then the user's, then those that are fixed."""
        try:
            with anywhere():  # whose threads are the client's own
                return make({**self._common, **settings, **self._user})
        except KafkaException as error:
            raise Fatal(self.redact(f"[log.kafka] {error.args[0].str()}")) from None


class Hung(KafkaException):
    """A call into the client did not come back. Its producer is good for nothing any more, not even for an abort."""


def resume(deadline: float, stopped: Callable[[], bool], call: Callable[..., object], *arguments: object) -> None:
    """Calls one of a transactional producer's functions, and calls again to resume while the client says that it may be, until the
    deadline (monotonic seconds) or until it is no longer wanted. Raises KafkaException."""
    while True:
        try:
            call(*arguments, max(0.1, min(_SLICE, deadline - time.monotonic())))
        except KafkaException as exception:
            if not exception.args[0].retriable() or time.monotonic() > deadline or stopped():
                raise
            time.sleep(0.01)  # Some come at once, as while another call is under way.
        else:
            return


def move_group(deadline: float, stopped: Callable[[], bool], producer: Producer, moves: Sequence[TopicPartition], metadata: object) -> None:
    """send_offsets_to_transaction, which may forget its time limit for good when the group's coordinator goes away under it (librdkafka
    issues 5456 and 5511). So it runs in a thread of its own, and is left behind there with its producer, which must be given up then.
    Raises KafkaException, and Hung."""

    def call(timeout: float) -> None:
        answer: Future[None] = Future()

        def run() -> None:
            try:
                producer.send_offsets_to_transaction(list(moves), metadata, timeout)
            except KafkaException as exception:
                answer.set_exception(exception)
            else:
                answer.set_result(None)

        Thread(target=run, name="kafka offsets", daemon=True).start()
        try:
            answer.result(timeout + _HUNG)
        except TimeoutError as error:
            raise Hung(KafkaError(KafkaError._TIMED_OUT, "the client did not come back from moving the group")) from error

    resume(deadline, stopped, call)
