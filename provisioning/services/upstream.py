"""What a call to a setup's provider takes: its adapter, its credentials, its address here, and its no in our words."""

import hashlib

from django.conf import settings

from provisioning import providers
from provisioning.fields import UndecryptableSecret
from provisioning.models import Setup
from provisioning.providers.base import Adapter, Credentials, ProviderError, Rejected, Unavailable
from routing.errors import Refused


def adapter_for(setup: Setup) -> Adapter:
    """The adapter of the setup's provider."""
    return providers.get_adapter(setup.provider)


def credentials_of(setup: Setup) -> Credentials:
    """The setup's credentials in clear, for one adapter call.

    Raises Unavailable, as the call itself would: without credentials, or with none that a key opens, nothing is asked.
    """
    if setup.credentials_key_id is None or setup.credentials_secret is None:
        raise Unavailable("no_credentials", "The setup has no credentials yet.")
    try:
        return Credentials(key_id=setup.credentials_key_id.reveal(), secret=setup.credentials_secret.reveal())
    except UndecryptableSecret as error:
        raise Unavailable(error.code, str(error)) from None


def webhook_url(setup: Setup) -> str:
    """Where the provider sends the setup's events; the key in it is as secret as a password."""
    return f"{settings.HUB_PUBLIC_URL}/hooks/{setup.provider}/{setup.webhook_key}/"


def reference_of(setup: Setup) -> str:
    """Our name of the setup's subaccount at the provider: another one each time a setup is tried anew.

    It can be told from the row alone, so that people find the account there although the answer was lost. Lower case
    letters, digits and hyphens, 23 characters.
    """
    attempt = hashlib.sha256(setup.webhook_key.encode()).hexdigest()[:6]
    return f"hub-{setup.pk.hex[:12]}-{attempt}"


def refusal(error: ProviderError) -> Refused:
    """The provider's no for whoever asked: 502 when it refused, 503 when it may be asked again."""
    if isinstance(error, Rejected):
        return Refused(error.code, error.detail, status=502)
    return Refused(error.code, error.detail, status=503)
