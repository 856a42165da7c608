"""The doorbell by Celery, on a RabbitMQ and a Redis that run: who is woken, and what is done without the broker."""

import signal
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction

from imessage_hub import checks
from messaging.delivery.doorbell import _BELLS, CELERY, doorbell
from messaging.delivery.doorbell.broker import BrokerBell
from tests.messaging.brokers import Broker, make_broker
from tests.messaging.conftest import Hub
from tests.messaging.test_doorbell import Ears
from tests.messaging.test_worker_processes import StartWorker, start_worker, wait_until  # noqa: F401  (a fixture)

NEVER = "3600"


@pytest.fixture(scope="module", params=["rabbitmq", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The server of this module's tests."""
    broker = make_broker(request.param, tmp_path_factory.mktemp(request.param))
    yield broker
    broker.kill()


@pytest.fixture
def broker(server: Broker) -> Broker:
    """A broker that runs."""
    if not server.runs:
        server.start()
    return server


@pytest.fixture
def bell(
    broker: Broker, transactional_db: None, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BrokerBell]:
    """The hub's doorbell, rung by this process; taken down at the end."""
    settings.HUB_DOORBELL, settings.HUB_CELERY_BROKER_URL = CELERY, broker.url
    monkeypatch.delitem(_BELLS, CELERY, raising=False)
    bell = doorbell()
    assert isinstance(bell, BrokerBell)
    yield bell
    bell.close()
    _BELLS.pop(CELERY)


@pytest.fixture
def listen(bell: BrokerBell) -> Iterator[Callable[[], Ears]]:
    """Makes somebody who listens; the first ring, of the listening itself, is over."""
    stops = []

    def start() -> Ears:
        ears = Ears()
        stops.append(bell.listen(ears))
        wait_until(lambda: ears.heard == 1)
        return ears

    yield start
    for stop in stops:
        stop()


def test_everybody_hears_a_commit_and_nobody_what_was_undone(bell: BrokerBell, listen: Callable[[], Ears]) -> None:
    one, other = listen(), listen()
    with transaction.atomic():
        bell.ring()
        transaction.set_rollback(True)
    with transaction.atomic():
        bell.ring()
        assert (one.heard, other.heard) == (1, 1)
    wait_until(lambda: (one.heard, other.heard) == (2, 2))


def test_many_rings_are_few_notices_and_the_last_is_heard(bell: BrokerBell, listen: Callable[[], Ears]) -> None:
    ears = listen()
    for _ in range(1000):
        bell.ring()
    wait_until(lambda: ears.heard > 1)
    before = ears.heard
    bell.ring()
    wait_until(lambda: ears.heard > before)
    assert ears.heard < 200


def test_while_the_broker_is_gone_requests_are_answered_and_afterwards_it_rings(
    hub: Hub, broker: Broker, bell: BrokerBell, listen: Callable[[], Ears]
) -> None:
    ears = listen()
    hub.send("+12125551234", "before")
    wait_until(lambda: ears.heard >= 2)
    broker.kill()
    for number in range(20):
        assert hub.post("+12125551234", f"meanwhile {number}").status_code == 202
    heard = ears.heard
    broker.start()
    wait_until(lambda: ears.heard > heard)  # it listens again
    heard = ears.heard
    hub.send("+12125551234", "after")
    wait_until(lambda: ears.heard > heard)


@pytest.mark.usefixtures("bell")
def test_workers_are_woken_and_those_that_poll_go_on_without_the_broker(
    hub: Hub,
    broker: Broker,
    start_worker: StartWorker,  # noqa: F811
) -> None:
    """The first worker never looks by itself: what it delivers was rung for."""
    worker = start_worker(HUB_DOORBELL=CELERY, HUB_CELERY_BROKER_URL=broker.url, HUB_POLL_INTERVAL_S=NEVER)
    wait_until(lambda: b"worker started" in worker.log.read_bytes())
    deliver_one_after_another(hub, "rung for", 3)
    broker.kill()
    by_poll = start_worker(HUB_DOORBELL=CELERY, HUB_CELERY_BROKER_URL=broker.url)
    deliver_one_after_another(hub, "polled for", 3)
    assert "doorbell is not heard" in by_poll.end(signal.SIGTERM)
    broker.start()
    deliver_one_after_another(hub, "rung for again", 3)
    assert "worker stopped" in worker.end(signal.SIGTERM)


@pytest.mark.usefixtures("bell")
def test_celerys_own_workers_do_what_is_rung_for(
    hub: Hub,
    broker: Broker,
    start_worker: StartWorker,  # noqa: F811
) -> None:
    worker = start_worker(
        "-A",
        "imessage_hub",
        "worker",
        "-c",
        "2",
        program=("-m", "celery"),
        HUB_CELERY_BROKER_URL=broker.url,
        HUB_DOORBELL=CELERY,
    )
    wait_until(lambda: b"ready." in worker.log.read_bytes())
    deliver_one_after_another(hub, "by Celery", 3)
    output = worker.end(signal.SIGTERM)
    assert worker.process.returncode == 0
    assert "by Celery" not in output


def deliver_one_after_another(hub: Hub, text: str, count: int) -> None:
    """Each is sent when the one before is delivered, so that each needs a ring or a poll of its own."""
    for number in range(count):
        message = hub.send("+12125551234", f"{text} {number}")
        wait_until(partial(lambda sent: hub.status(sent) == "delivered", message))


def test_work_of_many_rounds_is_rung_for_again_so_that_others_join(monkeypatch: pytest.MonkeyPatch) -> None:
    from messaging.delivery import drain as module

    rounds, rings = iter([2, 2, 1, 0]), []
    monkeypatch.setattr(module, "work_once", lambda limit: next(rounds))
    monkeypatch.setattr(module, "doorbell", lambda: SimpleNamespace(ring=lambda: rings.append(1)))
    assert module.drain(at_once=2) == 5
    assert len(rings) == 2


def test_a_drain_whose_time_is_over_leaves_the_rest_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from messaging.delivery import drain as module

    rings: list[int] = []
    monkeypatch.setattr(module, "work_once", lambda limit: 1)
    monkeypatch.setattr(module, "doorbell", lambda: SimpleNamespace(ring=lambda: rings.append(1)))
    assert module.drain(for_s=0) == 1
    assert rings


@pytest.mark.parametrize("url", ["", "rabbit.example.com", "https://rabbit.example.com"])
def test_a_broker_that_is_none_is_refused_at_start(settings: Any, url: str) -> None:
    settings.HUB_DOORBELL, settings.HUB_CELERY_BROKER_URL = CELERY, url
    assert [finding.id for finding in checks.doorbell_is_there(None)] == ["hub.E006"]
    settings.HUB_CELERY_BROKER_URL = "amqp://guest:guest@127.0.0.1//"
    assert checks.doorbell_is_there(None) == []
