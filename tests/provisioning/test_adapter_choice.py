"""Which adapter a provider's name stands for, under settings that change."""

from datetime import timedelta

import pytest

from provisioning.providers import UnknownProvider, get_adapter, provider_choices
from provisioning.providers.sendblue import SendblueAdapter


def test_one_adapter_as_long_as_the_settings_stay(settings):
    first = get_adapter("sendblue")
    assert isinstance(first, SendblueAdapter)
    assert get_adapter("sendblue") is first
    settings.SENDBLUE = {**settings.SENDBLUE, "base_url": "http://127.0.0.1:9"}
    second = get_adapter("sendblue")
    assert second is not first
    settings.HUB_CALL_DEADLINE = timedelta(seconds=1)
    assert get_adapter("sendblue") is not second


def test_an_unknown_provider_is_named():
    with pytest.raises(UnknownProvider) as caught:
        get_adapter("pigeon")
    assert str(caught.value) == "No provider is called 'pigeon'; known are sendblue."
    assert isinstance(caught.value, KeyError)


def test_an_address_that_is_none_is_told(settings):
    settings.SENDBLUE = {**settings.SENDBLUE, "base_url": "api.sendblue.co"}
    with pytest.raises(ValueError, match="base URL"):
        get_adapter("sendblue")


def test_choices_for_forms():
    assert provider_choices() == [("sendblue", "Sendblue")]
