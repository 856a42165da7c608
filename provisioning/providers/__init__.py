"""The providers the hub knows: one line each."""

from collections.abc import Callable
from functools import lru_cache

from django.conf import settings

from provisioning.providers.base import Adapter, Pace
from provisioning.providers.sendblue import SendblueAdapter, SendblueConfig

ADAPTERS: dict[str, type[Adapter]] = {adapter.name: adapter for adapter in (SendblueAdapter,)}


class UnknownProvider(KeyError):
    """No provider has this name."""

    def __str__(self) -> str:
        return f"No provider is called {self.args[0]!r}; known are {', '.join(sorted(ADAPTERS))}."


def provider_choices() -> list[tuple[str, str]]:
    """Name and label of every provider, for forms."""
    return [(name, adapter.label) for name, adapter in ADAPTERS.items()]


def get_adapter(name: str) -> Adapter:
    """The adapter of a provider, as the settings describe it now; the same one as long as they stay the same.

    UnknownProvider if there is none of this name; ValueError if its address in the settings is none.
    """
    if name not in _MAKERS:
        raise UnknownProvider(name)
    return _MAKERS[name]()


def _sendblue() -> Adapter:
    pace = Pace(**settings.SENDBLUE_PACE)
    return _sendblue_with(SendblueConfig(**settings.SENDBLUE, deadline=settings.HUB_CALL_DEADLINE, pace=pace))


@lru_cache(maxsize=8)
def _sendblue_with(config: SendblueConfig) -> Adapter:
    return SendblueAdapter(config)


_MAKERS: dict[str, Callable[[], Adapter]] = {SendblueAdapter.name: _sendblue}
