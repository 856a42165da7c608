"""A hub that is wired to a provider: the sandbox over real HTTP in both directions."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connections
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from messaging.delivery.worker import work_once
from messaging.models import Message
from provisioning.models import PhoneLine, Setup
from provisioning.sandbox.server import Sandbox
from provisioning.services import create_setup
from routing.models import Account, Location
from tests.factories import make_api_key, make_location

AT_ONCE = "290"
"""The sandbox's area code for a number that comes with the answer."""


@dataclass
class Hub:
    """A location with two connected accounts at a sandbox that tells the hub what happens there."""

    location: Location
    setups: list[Setup]
    accounts: list[Account]
    sandbox: Sandbox
    api: APIClient
    key: str

    def post(self, to: str, text: str = "hello", **fields: Any) -> Any:
        """The answer to POST messages/."""
        return self.api.post("/api/v1/messages/", {"to": to, "text": text, **fields})

    def send(self, to: str, text: str = "hello", **fields: Any) -> Message:
        """An accepted message."""
        answer = self.post(to, text, **fields)
        assert answer.status_code == 202, answer.content
        return Message.objects.get(pk=answer.json()["id"])

    def work_until(self, done: Callable[[], Any], *, within_s: float = 20) -> Any:
        """Do what is due, in this thread, until `done()` is true, and return what it gave."""
        deadline = time.monotonic() + within_s
        pause = threading.Event()
        while True:
            work_once()
            if found := done():
                return found
            assert time.monotonic() < deadline, "what was waited for did not come"
            pause.wait(0.02)

    def status(self, message: Message) -> str:
        """The message's public status now."""
        return str(Message.objects.get(pk=message.pk).status)

    def work_until_status(self, message: Message, *statuses: str) -> Message:
        """Do what is due until the message has one of the statuses; the message as it is then."""
        self.work_until(lambda: self.status(message) in statuses)
        return Message.objects.get(pk=message.pk)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The provider emulator on a port of its own, quick with its callbacks."""
    with Sandbox(delivery_delay_s=0.01, retry_waits_s=(0.05, 0.1, 0.2)) as running:
        yield running


@pytest.fixture
def slow_answers(sandbox: Sandbox) -> None:
    """The provider takes a while to answer, so that what happens to a worker happens while calls are in flight."""
    sandbox.network.behaviour = replace(sandbox.network.behaviour, answer_delay_s=0.1)


@pytest.fixture
def hub(transactional_db: None, live_server: LiveServer, settings: LazySettings, sandbox: Sandbox) -> Iterator[Hub]:
    """See `Hub`. Its worker is the test itself: `work_until`."""
    settings.HUB_PUBLIC_URL = live_server.url
    settings.SENDBLUE = {
        **settings.SENDBLUE,
        "base_url": sandbox.url,
        "agency_key_id": "agency-key",
        "agency_secret": "agency-secret",
        "contact_email": "setups@example.com",
    }
    settings.HUB_MEDIA_TRUSTED_HOSTS = [sandbox.url.removeprefix("http://")]
    settings.HUB_CALL_DEADLINE = timedelta(seconds=1)
    location = make_location("Maple Street Clinic")
    setups = [
        create_setup(location=location, business_name=f"maple-{label}", label=label, area_code=AT_ONCE)
        for label in ("front", "billing")
    ]
    _, key = make_api_key(location)
    lines = [PhoneLine.objects.select_related("account").get(setup=setup) for setup in setups]
    accounts = [line.account for line in lines if line.account is not None]
    assert len(accounts) == 2
    api = APIClient(raise_request_exception=False, HTTP_AUTHORIZATION=f"Bearer {key}")
    yield Hub(location, setups, accounts, sandbox, api, key)
    # Late callbacks must not meet the next test's database.
    sandbox.stop()
    connections.close_all()
