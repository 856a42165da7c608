"""Fixtures of the whole suite, and the guard that keeps it off the network."""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from rest_framework.test import APIClient

from provisioning.sandbox.server import Sandbox
from tests.factories import Clinic, make_clinic

_real_connect = socket.socket.connect
_real_connect_ex = socket.socket.connect_ex
_real_getaddrinfo = socket.getaddrinfo


class NetworkForbiddenError(RuntimeError):
    """A test tried to leave the machine."""


def _database_hosts() -> set[str]:
    return {database["HOST"] for database in settings.DATABASES.values() if database.get("HOST")}


def _stays_here(host: object) -> bool:
    if not isinstance(host, str) or host in ("", "localhost") or host in _database_hosts():
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _check(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _stays_here(address[0]):
        raise NetworkForbiddenError("The suite connects to loopback only.")


def _guarded_connect(self: socket.socket, address: Any) -> None:
    _check(self, address)
    _real_connect(self, address)


def _guarded_connect_ex(self: socket.socket, address: Any) -> int:
    _check(self, address)
    return _real_connect_ex(self, address)


def _guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and not _stays_here(name):
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            raise NetworkForbiddenError("The suite asks no name server.") from None
    return _real_getaddrinfo(host, *args, **kwargs)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Fails whatever connects beyond loopback or asks for a name; it holds in every thread."""
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", _guarded_connect)
    patch.setattr(socket.socket, "connect_ex", _guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", _guarded_getaddrinfo)
    yield
    patch.undo()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of row locks between connections mean something on PostgreSQL only."""
    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        return
    reason = pytest.mark.skip(reason="needs row locks between connections: run with DATABASE_URL=postgres://…")
    for item in items:
        if item.get_closest_marker("postgres"):
            item.add_marker(reason)


@pytest.fixture
def clinic(db: None) -> Clinic:
    """A clinic that can send; see `Clinic`."""
    return make_clinic()


@pytest.fixture
def other_clinic(db: None) -> Clinic:
    """A second one that has nothing to do with the first."""
    return make_clinic()


@pytest.fixture
def api_as() -> Callable[[str | None], APIClient]:
    """Makes an HTTP client that shows the given API key; None: no key."""

    def make(key: str | None) -> APIClient:
        client = APIClient(raise_request_exception=False)
        if key is not None:
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        return client

    return make


@pytest.fixture
def api(clinic: Clinic, api_as: Callable[[str | None], APIClient]) -> APIClient:
    """An HTTP client with the clinic's key."""
    return api_as(clinic.key)


@pytest.fixture
def in_threads(transactional_db: None) -> Callable[..., list[Any]]:
    """Runs `work(i)` for `count` threads that start together, each with a database connection of its own.

    Returns results in order; an exception that a thread raised stands in its place.
    """

    def run(count: int, work: Callable[[int], Any]) -> list[Any]:
        gate = threading.Barrier(count)

        def one(i: int) -> Any:
            try:
                _connect(within_s=60)
                gate.wait(timeout=60)
                return work(i)
            except Exception as error:  # noqa: BLE001  (handed to the test)
                return error
            finally:
                connection.close()

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    return run


@pytest.fixture
def sandbox(settings: Any) -> Iterator[Sandbox]:
    """A running provider emulator, quick in everything; the hub's adapter talks to it as the agency."""
    with Sandbox(delivery_delay_s=0.01, retry_waits_s=(0.02, 0.05, 0.1), webhook_timeout_s=5.0) as running:
        running.faults.place_after_s = 0.05
        settings.SENDBLUE = settings.SENDBLUE | {
            "base_url": running.url,
            "agency_key_id": "agency-key",
            "agency_secret": "agency-secret",
            "contact_email": "ops@hub.example",
        }
        yield running


def _connect(*, within_s: float) -> None:
    """Open this thread's connection; a server that is full for the moment is asked again."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            connection.ensure_connection()
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def wait_until(condition: Callable[[], Any], *, within_s: float = 10.0) -> Any:
    """The first true value of `condition`, asked again and again; fails when there is none within the time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"still not so after {within_s} s: {condition}")
