"""A provider in memory that answers what a test tells it to, and keeps what it was asked."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from provisioning.duties import claim_due
from provisioning.models import Setup
from provisioning.providers.base import (
    Accepted,
    Adapter,
    Capability,
    Credentials,
    Health,
    Line,
    NewSubaccount,
    Outgoing,
    Parsed,
    Sought,
    Subaccount,
)
from provisioning.services import run_setup_duty

CREDENTIALS = Credentials(key_id="sub-key-canary", secret="sub-secret-canary")


@dataclass
class Registered:
    """One registration of webhooks."""

    credentials: Credentials
    url: str
    secret: str


class FakeProvider(Adapter):
    """Answers from its attributes; an exception there is raised, a function is called."""

    name = "sendblue"
    label = "Fake"
    capabilities = Capability.CREATE_SUBACCOUNT | Capability.CALLBACK_URL

    def __init__(self) -> None:
        self.answer: Any = Subaccount(CREDENTIALS)
        self.lines: Any = []
        self.registering: Any = None
        self.created: list[NewSubaccount] = []
        self.registered: list[Registered] = []
        self.listed: list[Credentials] = []
        self.in_transaction: list[bool] = []
        self._lock = threading.Lock()

    def offers(self, *numbers: str, health: Health = Health.ONLINE) -> None:
        """From now on the account has these lines."""
        self.lines = [Line(number, health) for number in numbers]

    def create_subaccount(self, wanted: NewSubaccount) -> Subaccount:
        self._asked(self.created, wanted)
        answer: Subaccount = _given(self.answer)
        return answer

    def list_lines(self, credentials: Credentials) -> Sequence[Line]:
        self._asked(self.listed, credentials)
        lines: Sequence[Line] = _given(self.lines)
        return lines

    def register_webhooks(self, credentials: Credentials, *, url: str, secret: str) -> None:
        self._asked(self.registered, Registered(credentials, url, secret))
        _given(self.registering)

    def _asked(self, calls: list[Any], call: Any) -> None:
        with self._lock:
            self.in_transaction.append(connection.in_atomic_block)
            calls.append(call)

    def send(
        self, credentials: Credentials, message: Outgoing, *, before_first_byte: Callable[[], None] | None = None
    ) -> Accepted:
        raise AssertionError("not asked here")

    def lookup(self, credentials: Credentials, sought: Sought) -> Sequence[Accepted]:
        raise AssertionError("not asked here")

    def mark_read(self, credentials: Credentials, *, to: str, from_number: str) -> None:
        raise AssertionError("not asked here")

    def typing(self, credentials: Credentials, *, to: str, from_number: str, is_typing: bool) -> None:
        raise AssertionError("not asked here")

    def verify(self, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str]) -> bool:
        raise AssertionError("not asked here")

    def parse(self, body: Any, *, topic: str) -> Parsed:
        raise AssertionError("not asked here")


def _given(answer: Any) -> Any:
    if isinstance(answer, BaseException):
        raise answer
    return answer() if callable(answer) else answer


def let_worker_look() -> list[Setup]:
    """One round of the worker over the setups that are due now, as the delivery worker does it."""
    taken = list(claim_due(Setup.objects.all(), limit=10, lease=timedelta(seconds=60)))
    for setup in taken:
        run_setup_duty(setup=setup)
    return taken


def make_due(setup: Setup) -> None:
    """As if the time the setup waits for had passed, and any lease with it."""
    Setup.objects.filter(pk=setup.pk, due_at__isnull=False).update(due_at=setup.created_at, lease_until=None)
