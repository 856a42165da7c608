"""At start: keys that open what is stored, settings of a provider the hub knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError

from provisioning import checks
from provisioning.checks import CANARY, ensure_keys_open_secrets, plant_canary
from provisioning.models import SecretCanary
from tests.factories import make_location, make_setup

ROOT = Path(__file__).resolve().parents[2]


def found() -> list[str | None]:
    return [one.id for one in checks.keys_open_the_secrets(None, databases=["default"])]


# --- keys -------------------------------------------------------------------------------------------------------------
def test_a_migration_plants_the_canary(db):
    assert SecretCanary.objects.get().sealed.reveal() == CANARY
    call_command("migrate", verbosity=0)
    assert SecretCanary.objects.count() == 1


def test_the_right_keys_pass(db):
    assert found() == []
    ensure_keys_open_secrets()


def test_an_older_key_in_the_list_passes(db, use_keys, key, new_key):
    use_keys(new_key, key)
    assert found() == []


def test_the_wrong_keys_are_told_with_what_to_do(db, use_keys, new_key):
    use_keys(new_key)
    (error,) = checks.keys_open_the_secrets(None, databases=["default"])
    assert (error.id, error.level) == ("provisioning.E003", 40)
    assert "Put back the key" in str(error.hint)
    with pytest.raises(ImproperlyConfigured) as raised:
        ensure_keys_open_secrets()
    assert str(raised.value) == f"{error.msg} {error.hint}"
    with pytest.raises(SystemCheckError, match="E003"):
        call_command("check", databases=["default"])


def test_a_check_without_databases_asks_none(db, use_keys, new_key, django_assert_num_queries):
    use_keys(new_key)
    with django_assert_num_queries(0):
        assert checks.keys_open_the_secrets(None, databases=None) == []


def test_a_lost_canary_is_not_planted_again_under_the_wrong_keys(db, use_keys, new_key):
    make_setup(make_location())
    SecretCanary.objects.all().delete()
    use_keys(new_key)
    plant_canary(sender=apps.get_app_config("provisioning"), using="default")
    assert not SecretCanary.objects.exists()
    assert found() == ["provisioning.E003"]


def test_a_lost_canary_is_planted_again_under_the_right_keys(db):
    make_setup(make_location())
    SecretCanary.objects.all().delete()
    assert found() == []
    plant_canary(sender=apps.get_app_config("provisioning"), using="default")
    assert SecretCanary.objects.get().sealed.reveal() == CANARY


def test_before_the_first_migration_nothing_can_be_wrong(db, monkeypatch, use_keys, new_key):
    use_keys(new_key)
    monkeypatch.setattr(checks, "_is_migrated", lambda using: False)
    assert found() == []
    ensure_keys_open_secrets()
    plant_canary(sender=apps.get_app_config("provisioning"), using="default")


def test_a_database_that_is_away_is_not_taken_for_wrong_keys(db, monkeypatch):
    def away(using: str) -> bool:
        raise OperationalError("could not connect")

    monkeypatch.setattr(checks, "_is_migrated", away)
    with pytest.raises(OperationalError):
        ensure_keys_open_secrets()


@pytest.mark.parametrize("keys", ["nonsense", "c2hvcnQ=", ",", "x" * 44])
def test_a_key_that_is_none_stops_the_start_in_words_that_help(keys):
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=os.environ
        | {"FIELD_ENCRYPTION_KEYS": keys, "DJANGO_SETTINGS_MODULE": "imessage_hub.settings", "HUB_ENV_FILE": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "FIELD_ENCRYPTION_KEYS" in last
    assert "Fernet.generate_key()" in last
    assert keys == "," or keys not in done.stderr


# --- the provider -----------------------------------------------------------------------------------------------------
CONFIGURED = {"agency_key_id": "k", "agency_secret": "s", "contact_email": "ops@hub.example"}


def test_a_configured_provider_passes(settings):
    settings.SENDBLUE = settings.SENDBLUE | CONFIGURED
    assert checks.provider_is_configured(None) == []


@pytest.mark.parametrize("missing", CONFIGURED)
def test_what_is_missing_to_create_setups_is_a_warning(settings, missing):
    settings.SENDBLUE = settings.SENDBLUE | CONFIGURED | {missing: ""}
    (warning,) = checks.provider_is_configured(None)
    assert (warning.id, warning.level) == ("provisioning.W001", 30)
    assert missing.upper() in warning.msg.upper()


def test_an_unknown_provider_is_an_error(settings):
    settings.HUB_PROVIDER = "pigeon"
    (error,) = checks.provider_is_configured(None)
    assert error.id == "provisioning.E004"
    assert "sendblue" in str(error.hint)


def test_an_address_that_is_none_is_an_error(settings):
    settings.SENDBLUE = settings.SENDBLUE | CONFIGURED | {"base_url": "ftp:/nowhere"}
    assert [error.id for error in checks.provider_is_configured(None)] == ["provisioning.E005"]
