"""`reencrypt_secrets`: every secret to the newest key, beside traffic."""

import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from provisioning.fields import SecretTextField
from provisioning.management.commands import reencrypt_secrets
from provisioning.models import SecretCanary, Setup
from tests.factories import make_location, make_setup

SECRETS = ["webhook_secret", "credentials_key_id", "credentials_secret", "previous_webhook_secret"]


def run(**options) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("reencrypt_secrets", stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def clear_texts() -> list[tuple[str | None, ...]]:
    return [
        tuple(secret and secret.reveal() for secret in row)
        for row in Setup.objects.order_by("pk").values_list(*SECRETS)
    ]


@pytest.fixture
def setups(db) -> list[Setup]:
    location = make_location()
    return [
        make_setup(location),
        make_setup(location, previous_webhook_secret="before"),
        make_setup(location, credentials=None),
    ]


def test_every_secret_is_readable_with_the_new_key_alone_and_unchanged(setups, use_keys, key, new_key):
    before = clear_texts()
    use_keys(new_key, key)
    out, err = run()
    use_keys(new_key)
    assert clear_texts() == before
    assert SecretCanary.objects.get().sealed.reveal()
    # 3 webhook secrets, 2 × 2 credentials, 1 previous secret, 1 canary.
    assert "9 secrets moved" in out
    assert "can be dropped" in out
    assert "provisioning.Setup: 3 rows read, 8 secrets" in err


def test_again_it_has_nothing_to_do(setups, use_keys, key, new_key):
    use_keys(new_key, key)
    run()
    out, _ = run()
    assert "0 secrets moved to the newest key, 9 were there already." in out


def test_a_dry_run_counts_and_changes_nothing(setups, use_keys, key, new_key):
    use_keys(new_key, key)
    out, _ = run(dry_run=True)
    assert "9 secrets would be moved" in out
    assert "dropped" not in out
    use_keys(key)
    assert len(clear_texts()) == 3


def test_a_secret_that_no_key_opens_is_left_and_told(setups, use_keys, key, new_key):
    lost = Fernet(Fernet.generate_key()).encrypt(b"lost").decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provisioning_setup SET previous_webhook_secret = %s", [lost])
    use_keys(new_key, key)
    with pytest.raises(CommandError, match="3 secrets could not be read"):
        run()
    assert {row.previous_webhook_secret.token for row in Setup.objects.all()} == {lost}
    use_keys(new_key)
    assert all(row.webhook_secret.reveal() for row in Setup.objects.all())


def test_a_secret_that_is_set_meanwhile_stays(setups, use_keys, key, new_key, monkeypatch):
    use_keys(new_key, key)
    target, renew = setups[0], reencrypt_secrets._renew_one
    meddled: list[int] = []

    def meddle(model, pk, name, sealed, *, dry):
        if pk == target.pk and name == "webhook_secret" and not meddled:
            meddled.append(Setup.objects.filter(pk=pk).update(webhook_secret="rotated meanwhile"))
        return renew(model, pk, name, sealed, dry=dry)

    monkeypatch.setattr(reencrypt_secrets, "_renew_one", meddle)
    out, _ = run()
    assert meddled == [1]
    assert Setup.objects.get(pk=target.pk).webhook_secret.reveal() == "rotated meanwhile"
    assert "can be dropped" in out


def test_more_rows_than_a_batch_are_all_done(setups, use_keys, key, new_key, monkeypatch):
    monkeypatch.setattr(reencrypt_secrets, "BATCH", 2)
    use_keys(new_key, key)
    out, _ = run()
    assert "9 secrets moved" in out


def test_no_encrypted_column_of_the_hub_is_forgotten():
    from django.apps import apps

    fields = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, SecretTextField)
    }
    covered = {f"{model._meta.label}.{name}" for model, names in reencrypt_secrets.secret_fields() for name in names}
    assert covered == fields
    assert len(covered) >= 5


def test_only_ours_of_the_package_s_fields_are_used():
    from django.apps import apps
    from encrypted_model_fields.fields import EncryptedMixin

    loose = [
        str(field)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, EncryptedMixin) and not isinstance(field, SecretTextField)
    ]
    assert loose == []
