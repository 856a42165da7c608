"""Two locations with one of everything, and an operator."""

import logging

import pytest

from provisioning import providers
from routing.models import User
from tests.admin.world import World, make_world
from tests.factories import make_user
from tests.provisioning.fake_provider import FakeProvider


@pytest.fixture
def ours(db: None) -> World:
    """The location whose people sign in."""
    return make_world("ours")


@pytest.fixture
def theirs(db: None) -> World:
    """Another tenant: whatever shows CANARY has leaked."""
    return make_world("CANARY")


@pytest.fixture
def operator(db: None) -> User:
    """A superuser."""
    return make_user("operator", superuser=True)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The provider of every setup, in memory."""
    fake = FakeProvider()
    monkeypatch.setattr(providers, "get_adapter", lambda name: fake)
    return fake


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that make thousands of requests: a line for each is worth nothing."""
    for name in ("hub.request", "django.request"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
