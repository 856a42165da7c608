"""The worker as a process: stopped gently it gives back what it holds; killed it loses nothing, sends nothing twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.db import connection

from messaging.delivery import outbox
from messaging.delivery.doorbell import _BELLS, NOTIFY, PostgresBell
from messaging.models import LIVE_STATES, DispatchState, Message
from tests.messaging.conftest import Hub

DEADLINE_S = 90.0


def database_url() -> str:
    """The test database, as another process names it."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    host, port = database["HOST"] or "127.0.0.1", database["PORT"] or 5432
    password = f":{database['PASSWORD']}" if database["PASSWORD"] else ""
    return f"postgres://{database['USER']}{password}@{host}:{port}/{database['NAME']}"


def wait_until(done: Callable[[], Any], *, within_s: float = DEADLINE_S) -> Any:
    """What `done` gives, as soon as it is true."""
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while not (found := done()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        pause.wait(0.05)
    return found


@dataclass
class Running:
    """A worker process and the file of its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def end(self, number: signal.Signals | None = None) -> str:
        """Send the signal, if any, wait for the end and return the log."""
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(30)
        return self.log.read_text()


StartWorker = Callable[..., Running]


@pytest.fixture
def start_worker(hub: Hub, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts `manage.py deliver`, or another `program`, on the test's database; what is left is killed at the end."""
    started: list[Running] = []

    def start(*arguments: str, program: Sequence[str] = ("manage.py", "deliver"), **variables: str) -> Running:
        environment = {
            **os.environ,
            "HUB_ENV_FILE": "",
            "DJANGO_SETTINGS_MODULE": "imessage_hub.settings",
            "DATABASE_URL": database_url(),
            "SECRET_KEY": settings.SECRET_KEY,
            "FIELD_ENCRYPTION_KEYS": ",".join(settings.FIELD_ENCRYPTION_KEY),
            "HUB_PUBLIC_URL": settings.HUB_PUBLIC_URL,
            "HUB_HTTPS": "0",
            "SENDBLUE_BASE_URL": hub.sandbox.url,
            "HUB_CALL_DEADLINE_S": "1",
            "HUB_LEASE_S": "8",
            "HUB_POLL_INTERVAL_S": "0.05",
            "HUB_UNCERTAIN_GRACE_S": "3",
            # Lines that bear everything.
            "SENDBLUE_PACE_PER_SECOND": "10000",
            "SENDBLUE_PACE_BURST": "10000",
            "SENDBLUE_NEW_CONTACTS_PER_HOUR": "0",
            "SENDBLUE_NEW_CONTACTS_PER_DAY": "0",
            **variables,
        }
        log = tmp_path / f"worker-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(Running(process, log))
        return started[-1]

    yield start
    for worker in started:
        worker.process.kill()
        worker.process.wait()


def sent_at_least(hub: Hub, count: int) -> Callable[[], bool]:
    """Whether the provider has taken on so many messages."""
    return lambda: len(hub.sandbox.ledger()) >= count


@pytest.mark.usefixtures("slow_answers")
def test_killed_in_the_middle_of_200_messages_it_loses_none_and_sends_none_twice(
    hub: Hub, start_worker: StartWorker
) -> None:
    """The provider is slow to answer, so that every kill lands while calls are in flight; it is counted.

    What the provider took is found and delivered. A call that ended before the provider took it is known to nobody: it
    is shown as uncertain, and was not sent.
    """
    contacts = [f"+1212555{1000 + n}" for n in range(40)]
    messages = [hub.send(number, f"{number} {n}") for n in range(5) for number in contacts]
    landed = 0
    for target in (30, 80, 130):
        worker = start_worker("--concurrency", "8")
        wait_until(sent_at_least(hub, target))
        worker.end(signal.SIGKILL)
        landed += Message.objects.filter(dispatch_state=DispatchState.SENDING).count()
    assert landed >= 3, "the kills did not land while calls were in flight; nothing was proven"
    start_worker("--concurrency", "8")
    wait_until(lambda: not Message.objects.filter(dispatch_state__in=LIVE_STATES).exists())
    hub.sandbox.drain_webhooks()

    ledger = hub.sandbox.ledger()
    sent = Counter(one.content for one in ledger)
    assert set(sent.values()) == {1}, "something was sent twice"
    wait_until(lambda: Message.objects.filter(status="delivered").count() == len(ledger))
    unsent = Message.objects.exclude(text__in=sent)
    assert {message.status for message in unsent} <= {"uncertain"}
    assert len(unsent) + len(ledger) == len(messages)
    assert len(unsent) < landed, "no callback ever proved an interrupted call"
    for number in contacts:
        texts = [one.content for one in ledger if one.number == number]
        assert texts == sorted(texts), "a conversation is out of order"


@pytest.mark.postgres
def test_the_bell_wakes_a_worker_that_hardly_ever_looks(
    hub: Hub, start_worker: StartWorker, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next poll is an hour away: without the bell none of this would end."""
    bell = PostgresBell()
    monkeypatch.setitem(_BELLS, NOTIFY, bell)
    settings.HUB_DOORBELL = NOTIFY
    worker = start_worker(HUB_DOORBELL=NOTIFY, HUB_POLL_INTERVAL_S="3600")
    wait_until(lambda: b"worker started" in worker.log.read_bytes())
    for number in range(5):
        message = hub.send("+12125551234", str(number))
        wait_until(partial(lambda sent: hub.status(sent) == "delivered", message))
    worker.end(signal.SIGTERM)
    bell.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_gently_it_finishes_what_is_in_flight_and_leaves_the_rest_queued(
    hub: Hub, start_worker: StartWorker, number: signal.Signals
) -> None:
    messages = [hub.send(f"+1212555{1000 + n}", str(n)) for n in range(60)]
    worker = start_worker("--concurrency", "4")
    wait_until(lambda: len(hub.sandbox.ledger()) >= 5)
    output = worker.end(number)
    assert worker.process.returncode == 0
    assert "worker stopped" in output
    states = Counter(Message.objects.values_list("dispatch_state", flat=True))
    assert set(states) <= {DispatchState.ACCEPTED, DispatchState.QUEUED}
    assert states[DispatchState.ACCEPTED] == len(hub.sandbox.ledger())
    assert sum(states.values()) == len(messages)


def test_its_log_tells_what_it_did_and_no_word_or_number_of_anybody(hub: Hub, start_worker: StartWorker) -> None:
    message = hub.send("+12125551234", "a very private text")
    worker = start_worker()
    wait_until(lambda: Message.objects.get(pk=message.pk).status == "delivered")
    output = worker.end(signal.SIGTERM)
    assert str(message.pk) in output
    assert "accepted" in output
    for private in ("private", "2125551234", hub.accounts[0].phone_number, "Maple"):
        assert private not in output


def test_a_worker_that_cannot_read_the_secrets_does_not_start(
    hub: Hub, start_worker: StartWorker, settings: LazySettings
) -> None:
    from cryptography.fernet import Fernet

    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    worker = start_worker()
    output = worker.end()
    assert worker.process.returncode != 0
    assert "FIELD_ENCRYPTION_KEYS" in output


@pytest.mark.parametrize("concurrency", ["0", "513", "many"])
def test_a_senseless_concurrency_is_refused(hub: Hub, start_worker: StartWorker, concurrency: str) -> None:
    worker = start_worker("--concurrency", concurrency)
    output = worker.end()
    assert worker.process.returncode != 0
    assert "--concurrency" in output


def test_two_workers_share_the_work(hub: Hub, start_worker: StartWorker) -> None:
    messages = [hub.send(f"+1212555{1000 + n % 20}", f"{n}") for n in range(60)]
    for _ in range(2):
        start_worker("--concurrency", "4")
    wait_until(lambda: Message.objects.filter(status="delivered").count() == len(messages))
    assert Counter(one.content for one in hub.sandbox.ledger()) == Counter(message.text for message in messages)
    assert outbox.sweep() == {"requeued": 0, "uncertain": 0, "expired": 0}
