"""The doorbell on RabbitMQ or Redis, by Celery.

A ring is Celery's task `hub.drain`, published to a fanout exchange: every `manage.py deliver` that listens is woken by
it, and every Celery worker of imessage_hub/celery.py runs it. Who does not listen gets nothing and nothing is kept for
them, so rings cannot pile up in the broker.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu import Connection, Consumer, Exchange
from kombu.common import Broadcast
from kombu.exceptions import OperationalError

from messaging.delivery.doorbell.threaded import LISTEN_FOR_S, ThreadedBell

DRAIN = "hub.drain"
EXCHANGE = Exchange("hub_due", type="fanout", delivery_mode="transient")
CONNECT_WITHIN_S = 2.0
ANSWER_WITHIN_S = 2.0
HEARTBEAT_S = 10.0


def make_app(broker_url: str) -> Celery:
    """The Celery app of the doorbell: one task, a queue of its own for each worker, no results."""
    app = Celery("imessage_hub", set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        broker_connection_retry_on_startup=True,
        accept_content=["json"],
        task_queues=[_ear()],
        task_default_queue=EXCHANGE.name,
        task_ignore_result=True,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
    )
    return app


def _ear() -> Broadcast:
    """A queue of one listener's own, which holds one ring at most and goes when its listener is gone."""
    return Broadcast(EXCHANGE.name, exchange=EXCHANGE, routing_key=EXCHANGE.name, max_length=1, expires=60.0)


class BrokerBell(ThreadedBell):
    """Celery's broker at `url`: amqp(s):// is RabbitMQ, redis(s):// Redis."""

    ring_every_s = 0.05

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._app = make_app(url)

    @property
    def _lost(self) -> tuple[type[Exception], ...]:
        transport = Connection(self._url).transport
        return (OperationalError, OSError, *transport.connection_errors, *transport.channel_errors)

    @contextmanager
    def _ringing(self) -> Iterator[Callable[[], object]]:
        options: dict[str, Any] = {"socket_connect_timeout": CONNECT_WITHIN_S, "socket_timeout": ANSWER_WITHIN_S}
        if self._is_amqp:
            # Confirmed, so that a connection which died in silence is noticed at the first ring on it.
            options = {"confirm_publish": True, "read_timeout": ANSWER_WITHIN_S, "write_timeout": ANSWER_WITHIN_S}
        with self._connect(options) as connection, self._app.amqp.Producer(connection) as producer:
            yield lambda: self._app.send_task(
                DRAIN,
                queue=EXCHANGE.name,
                declare=[EXCHANGE],
                producer=producer,
                ignore_result=True,
                retry=False,
                confirm_timeout=ANSWER_WITHIN_S,
            )

    @contextmanager
    def _hearing(self) -> Iterator[Callable[[], bool]]:
        options = {} if self._is_amqp else {"socket_connect_timeout": CONNECT_WITHIN_S}
        heard: list[object] = []
        with self._connect(options, heartbeat=HEARTBEAT_S) as connection:
            # The ring's own words do not matter, whatever they are.
            consumer = Consumer(connection, queues=[_ear()], on_message=heard.append, no_ack=True)
            with consumer:
                yield lambda: _rang(connection, heard)

    @property
    def _is_amqp(self) -> bool:
        return self._url.startswith("amqp")

    @contextmanager
    def _connect(self, options: dict[str, Any], *, heartbeat: float = 0) -> Iterator[Connection]:
        with Connection(
            self._url, connect_timeout=CONNECT_WITHIN_S, heartbeat=heartbeat, transport_options=options
        ) as connection:
            connection.connect()
            yield connection


def _rang(connection: Connection, heard: list[object]) -> bool:
    try:
        connection.drain_events(timeout=LISTEN_FOR_S)
    except TimeoutError:
        connection.heartbeat_check()
    rang = bool(heard)
    heard.clear()
    return rang
