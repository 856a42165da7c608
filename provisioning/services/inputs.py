"""What people and programs give for a setup, checked; each refusal names its field."""

import re
from uuid import UUID

from django.conf import settings

from provisioning import providers
from provisioning.models import Setup
from provisioning.providers.base import Capability, Credentials
from routing.errors import Refused
from routing.models import Location

_AREA_CODE = re.compile(r"[2-9][0-9]{2}")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,500}")


def check_area_code(area_code: str) -> None:
    """Raise Refused for what is neither an area code nor empty."""
    if area_code and not _AREA_CODE.fullmatch(area_code):
        raise Refused("invalid_area_code", "An area code has three digits, like 415.", field="area_code")


def refuse_taken_id(setup_id: UUID, location: Location) -> None:
    """Raise Refused when there is a setup of that id; another location's is told as any id that cannot be used."""
    if Setup.objects.filter(pk=setup_id, location=location).exists():
        raise Refused("setup_exists", "This setup is made already.", status=409)
    if Setup.objects.filter(pk=setup_id).exists():
        raise Refused("invalid_setup_id", "This form was out of date. Press Create once more.", field="setup_id")


def known_provider(given: str | None, needed: Capability = Capability.NONE) -> str:
    """The name of a provider that can do what is needed; the hub's own for None. Raises Refused."""
    name = given or settings.HUB_PROVIDER
    try:
        adapter = providers.get_adapter(name)
    except providers.UnknownProvider:
        raise Refused("unknown_provider", "The hub knows no provider of that name.", field="provider") from None
    if needed not in adapter.capabilities:
        raise Refused(
            "provider_cannot_create",
            f"{adapter.label} cannot create subaccounts; connect one that exists.",
            status=422,
            field="provider",
        )
    return name


def checked_texts(business_name: str, label: str) -> dict[str, str]:
    """The two names of a setup, without doubled spaces. Raises Refused."""
    texts = {"business_name": " ".join(business_name.split()), "label": " ".join(label.split())}
    for name, text in texts.items():
        longest = getattr(Setup._meta.get_field(name), "max_length", 0)
        if not 0 < len(text) <= longest or not text.isprintable():
            raise Refused(f"invalid_{name}", f"It has 1 to {longest} characters.", field=name)
    return texts


def checked_credentials(credentials: Credentials) -> Credentials:
    """The credentials without outer spaces. Raises Refused."""
    given = Credentials(key_id=credentials.key_id.strip(), secret=credentials.secret.strip())
    for name, text in (("key_id", given.key_id), ("secret", given.secret)):
        # They travel in HTTP headers.
        if not _CREDENTIAL.fullmatch(text):
            raise Refused(f"invalid_{name}", "It has 1 to 500 plain characters without spaces.", field=name)
    return given
