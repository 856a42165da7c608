"""A provider in memory for the services' tests, and the encryption keys of a test."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from encrypted_model_fields import fields as encrypted

from provisioning import providers
from tests.provisioning.fake_provider import FakeProvider


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The provider of every setup, in memory; see `FakeProvider`."""
    fake = FakeProvider()
    monkeypatch.setattr(providers, "get_adapter", lambda name: fake)
    return fake


@pytest.fixture
def use_keys(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[..., None]:
    """Makes the given encryption keys, newest first, those of this process; the package reads them once, at import."""
    # Likewise what the door seals for itself when it is loaded, which has to be before.
    import_module("messaging.hooks")

    def use(*keys: str) -> None:
        settings.FIELD_ENCRYPTION_KEY = list(keys)
        monkeypatch.setattr(encrypted, "CRYPTER", MultiFernet([Fernet(key) for key in keys]))

    return use


@pytest.fixture
def key(settings: Any) -> str:
    """The key everything of this test was written with until now."""
    return str(settings.FIELD_ENCRYPTION_KEY[0])


@pytest.fixture
def new_key() -> str:
    """Another key."""
    return Fernet.generate_key().decode()
