"""Checks of what provisioning needs: keys that open the stored secrets, a provider the hub knows."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  (Django's name for it)
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from provisioning.fields import Sealed, UndecryptableSecret
from provisioning.models import SecretCanary, Setup
from provisioning.providers import ADAPTERS, get_adapter

CANARY = "The keys are right."
WRONG_KEYS = "None of the FIELD_ENCRYPTION_KEYS opens the secrets in this database."
WRONG_KEYS_HINT = (
    "Put back the key they were written with; after a new first key, keep the older ones in the list until "
    "`manage.py reencrypt_secrets` has moved every row. Nothing was changed."
)


@register(Tags.database)
def keys_open_the_secrets(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """That the keys can read what is stored; runs where databases are checked, `migrate` among them."""
    return [
        Error(WRONG_KEYS, hint=WRONG_KEYS_HINT, id="provisioning.E003")
        for using in databases or ()
        if not _keys_open_secrets(using)
    ]


def ensure_keys_open_secrets() -> None:
    """Stops a process that would work with the wrong keys: raises ImproperlyConfigured.

    Passes on a database that was not migrated yet, where nothing is stored; raises the database's own OperationalError
    when it cannot be reached.
    """
    if not _keys_open_secrets(DEFAULT_DB_ALIAS):
        raise ImproperlyConfigured(f"{WRONG_KEYS} {WRONG_KEYS_HINT}")


def plant_canary(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """After a migration: write the text that later tells whether the keys are right, unless it is there.

    Not under keys that cannot read what is stored already.
    """
    if not _is_migrated(using) or SecretCanary.objects.using(using).exists() or not _keys_open_secrets(using):
        return
    SecretCanary.objects.using(using).bulk_create([SecretCanary(sealed=CANARY)], ignore_conflicts=True)


@register()
def provider_is_configured(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """That the provider for new setups exists and could create one."""
    if settings.HUB_PROVIDER not in ADAPTERS:
        return [
            Error(
                "HUB_PROVIDER names a provider that the hub does not know.",
                hint=f"Use one of: {', '.join(sorted(ADAPTERS))}.",
                id="provisioning.E004",
            )
        ]
    try:
        get_adapter(settings.HUB_PROVIDER)
    except ValueError as error:
        return [
            Error(
                f"The settings of the provider {settings.HUB_PROVIDER} cannot be used: {error}",
                hint="Its variables are listed in docs/operating.md.",
                id="provisioning.E005",
            )
        ]
    missing = [
        variable
        for variable, value in (
            ("SENDBLUE_AGENCY_KEY_ID", settings.SENDBLUE["agency_key_id"]),
            ("SENDBLUE_AGENCY_SECRET", settings.SENDBLUE["agency_secret"]),
            ("SENDBLUE_CONTACT_EMAIL", settings.SENDBLUE["contact_email"]),
        )
        if not value
    ]
    if settings.HUB_PROVIDER != "sendblue" or not missing:
        return []
    return [
        Warning(
            f"No setup can be created at Sendblue: {', '.join(missing)} not set.",
            hint="Give the credentials of your agency account and the address it writes to. A hub that only connects "
            "existing accounts needs none.",
            id="provisioning.W001",
        )
    ]


def _keys_open_secrets(using: str) -> bool:
    """Whether the canary can be read; without one, the secrets of the newest setup. True when nothing is stored."""
    if not _is_migrated(using):
        return True
    sealed: Sealed | None = SecretCanary.objects.using(using).values_list("sealed", flat=True).first()
    if sealed is None:
        sealed = Setup.objects.using(using).order_by("-created_at").values_list("webhook_secret", flat=True).first()
    try:
        return sealed is None or bool(sealed.reveal())
    except UndecryptableSecret:
        return False


def _is_migrated(using: str) -> bool:
    with connections[using].cursor() as cursor:
        tables = connections[using].introspection.table_names(cursor)
    return {SecretCanary._meta.db_table, Setup._meta.db_table} <= set(tables)
