"""Encrypted columns: nothing of them is shown, nothing is stored in clear, nothing is ever silently wrong."""

import copy
import json
import pickle
from typing import Any

import pytest
from django import forms
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Coalesce, Concat, Upper
from django.test.utils import CaptureQueriesContext, isolate_apps
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer

from provisioning.fields import SHOWN, Sealed, SecretTextField, UndecryptableSecret
from provisioning.models import Setup
from tests.factories import make_location, make_setup

CLEAR = "canary-in-clear"


@pytest.fixture
def setup(db) -> Setup:
    """A setup whose webhook secret is CLEAR."""
    return make_setup(make_location(), webhook_secret=CLEAR)


def stored(setup: Setup, column: str = "webhook_secret") -> Any:
    """What stands in the table."""
    with connection.cursor() as cursor:
        id_ = setup.pk.hex if connection.vendor == "sqlite" else setup.pk
        cursor.execute(f"SELECT {column} FROM provisioning_setup WHERE id = %s", [id_])  # noqa: S608
        (found,) = cursor.fetchone()
    return found


# --- writing ----------------------------------------------------------------------------------------------------------
def test_what_is_stored_is_ciphertext_and_opens_again(setup):
    assert CLEAR not in stored(setup)
    assert stored(setup).startswith("gAAAA")
    assert setup.webhook_secret.reveal() == CLEAR


@pytest.mark.parametrize("text", ["", "ünïcode 🔑", "a\x00b", "x" * 5000])
def test_any_text_comes_back_as_it_was(setup, text):
    setup.webhook_secret = text
    setup.save()
    setup.refresh_from_db()
    assert setup.webhook_secret.reveal() == text


def test_null_stays_null(db):
    setup = make_setup(make_location(), credentials=None)
    assert setup.credentials_secret is None
    assert stored(setup, "credentials_secret") is None


def test_an_object_shows_nothing_from_the_moment_it_is_saved(db):
    created = Setup.objects.create(
        location=make_location(), provider="sendblue", business_name="B", label="L", webhook_secret=CLEAR
    )
    assert isinstance(created.webhook_secret, Sealed)
    (made,) = Setup.objects.bulk_create(
        [Setup(location=created.location, provider="sendblue", business_name="B", label="L", webhook_secret=CLEAR)]
    )
    assert isinstance(made.webhook_secret, Sealed)
    assert Setup.objects.get(pk=made.pk).webhook_secret.reveal() == CLEAR


def test_update_takes_plain_values(setup):
    Setup.objects.filter(pk=setup.pk).update(webhook_secret="another", credentials_key_id=None, credentials_secret=None)
    setup.refresh_from_db()
    assert setup.webhook_secret.reveal() == "another"
    assert "another" not in stored(setup)
    assert setup.credentials_secret is None


def test_update_takes_what_was_read(setup):
    other = make_setup(setup.location)
    Setup.objects.filter(pk=other.pk).update(webhook_secret=setup.webhook_secret)
    assert stored(other) == stored(setup)


def test_bulk_update_encrypts_each_value(setup):
    other = make_setup(setup.location)
    setup.webhook_secret, setup.credentials_secret = "first", "mine"
    other.webhook_secret = "second"
    Setup.objects.bulk_update([setup, other], ["webhook_secret", "credentials_secret", "previous_webhook_secret"])
    for row, secret in ((setup, "first"), (other, "second")):
        assert secret not in stored(row)
        fresh = Setup.objects.get(pk=row.pk)
        assert fresh.webhook_secret.reveal() == secret
        assert fresh.previous_webhook_secret is None
    assert Setup.objects.get(pk=setup.pk).credentials_secret.reveal() == "mine"
    assert Setup.objects.get(pk=other.pk).credentials_secret.reveal() == other.credentials_secret.reveal()


@pytest.mark.parametrize(
    "expression",
    [
        F("label"),
        Value("clear"),
        Upper("label"),
        Concat(F("label"), Value("x")),
        Coalesce(F("webhook_secret"), F("credentials_secret")),
        Case(When(label="x", then=Value("clear")), default=Value("clear too")),
    ],
    ids=lambda expression: type(expression).__name__,
)
def test_an_expression_is_refused_and_nothing_is_changed(setup, expression):
    before = stored(setup)
    with pytest.raises(FieldError), transaction.atomic():
        Setup.objects.filter(pk=setup.pk).update(webhook_secret=expression)
    setup.webhook_secret = expression
    with pytest.raises(FieldError), transaction.atomic():
        setup.save()
    with pytest.raises(FieldError), transaction.atomic():
        Setup.objects.bulk_update([setup], ["webhook_secret"])
    assert stored(setup) == before


def test_what_looks_like_a_token_is_text(setup):
    """Else whoever can type a secret could have somebody else's decrypted."""
    stolen = stored(setup)
    for write in (_by_save, _by_update):
        victim = make_setup(setup.location)
        write(victim, stolen)
        assert Setup.objects.get(pk=victim.pk).webhook_secret.reveal() == stolen


def _by_save(setup: Setup, text: str) -> None:
    setup.webhook_secret = text
    setup.full_clean()
    setup.save()


def _by_update(setup: Setup, text: str) -> None:
    Setup.objects.filter(pk=setup.pk).update(webhook_secret=text)


def test_text_that_utf_8_cannot_hold_is_refused_without_being_named(setup):
    setup.webhook_secret = f"{CLEAR}\ud800"
    with pytest.raises(FieldError) as error:
        setup.save()
    assert CLEAR not in str(error.value)
    assert error.value.__suppress_context__


# --- reading ----------------------------------------------------------------------------------------------------------
def test_every_way_to_read_gives_it_sealed(setup):
    rows = Setup.objects.filter(pk=setup.pk)
    found = [
        rows.get().webhook_secret,
        rows.values("webhook_secret").get()["webhook_secret"],
        rows.values_list("webhook_secret", flat=True).get(),
        rows.annotate(copy=F("webhook_secret")).values_list("copy", flat=True).get(),
        rows.only("label").get().webhook_secret,
        next(iter(rows.iterator())).webhook_secret,
        Setup.objects.raw("SELECT * FROM provisioning_setup")[0].webhook_secret,
    ]
    assert all(isinstance(one, Sealed) and one.reveal() == CLEAR for one in found)


def test_it_shows_itself_to_nobody(setup):
    sealed = setup.webhook_secret
    shown = [
        repr(sealed),
        str(sealed),
        f"{sealed}",
        f"{sealed!r}",
        "%s" % sealed,  # noqa: UP031
        repr([sealed]),
        repr(vars(setup)),
        ascii(sealed),
    ]
    assert not [text for text in shown if CLEAR in text]
    assert shown[0] == SHOWN


def test_it_is_neither_pickled_nor_written_as_json(setup):
    for write in (pickle.dumps, json.dumps, lambda it: json.dumps(it, cls=DjangoJSONEncoder), JSONRenderer().render):
        with pytest.raises(TypeError):
            write({"secret": setup.webhook_secret})
    with pytest.raises(TypeError):
        pickle.dumps(setup)


def test_objects_can_be_copied(setup):
    assert copy.copy(setup).webhook_secret.reveal() == CLEAR
    assert copy.deepcopy(setup).webhook_secret == setup.webhook_secret


def test_equal_is_the_same_ciphertext(setup):
    same = Setup.objects.get(pk=setup.pk).webhook_secret
    assert (same == setup.webhook_secret, hash(same) == hash(setup.webhook_secret)) == (True, True)
    assert same != CLEAR
    assert Sealed.of(CLEAR) != same


@pytest.mark.parametrize(
    "lookup", ["webhook_secret", "webhook_secret__startswith", "webhook_secret__in", "webhook_secret__gt"]
)
def test_it_cannot_be_searched_and_the_clear_text_reaches_no_statement(setup, lookup):
    with CaptureQueriesContext(connection) as queries, pytest.raises(FieldError):
        list(Setup.objects.filter(**{lookup: [CLEAR] if lookup.endswith("in") else CLEAR}))
    assert CLEAR not in str(queries.captured_queries)


def test_whether_there_is_one_can_be_asked(setup):
    assert Setup.objects.filter(previous_webhook_secret__isnull=True, webhook_secret__isnull=False).get() == setup


def test_no_statement_holds_the_clear_text(setup):
    with CaptureQueriesContext(connection) as queries:
        setup.webhook_secret = CLEAR
        setup.full_clean()
        setup.save()
        Setup.objects.bulk_update([setup], ["webhook_secret"])
        list(Setup.objects.annotate(it=Value(CLEAR, output_field=SecretTextField())))
    assert len(queries) >= 3
    assert CLEAR not in str(queries.captured_queries)


# --- under the wrong key ----------------------------------------------------------------------------------------------
def test_the_wrong_key_raises_and_saving_under_it_harms_nothing(setup, use_keys, key, new_key):
    before = stored(setup)
    use_keys(new_key)
    wrong = Setup.objects.get(pk=setup.pk)
    with pytest.raises(UndecryptableSecret, match="FIELD_ENCRYPTION_KEYS"):
        wrong.webhook_secret.reveal()
    wrong.label = "edited"
    wrong.full_clean()
    wrong.save()
    Setup.objects.bulk_update([wrong], ["webhook_secret"])
    assert stored(setup) == before
    use_keys(key)
    assert Setup.objects.get(pk=setup.pk).webhook_secret.reveal() == CLEAR


def test_what_was_never_encrypted_does_not_count_as_a_secret(setup):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provisioning_setup SET webhook_secret = 'planted'")
    with pytest.raises(UndecryptableSecret):
        Setup.objects.get(pk=setup.pk).webhook_secret.reveal()


def test_several_keys_read_and_the_first_writes(setup, use_keys, key, new_key):
    use_keys(new_key, key)
    fresh = Setup.objects.get(pk=setup.pk)
    assert fresh.webhook_secret.reveal() == CLEAR
    assert not fresh.webhook_secret.is_current()
    fresh.webhook_secret = "new"
    fresh.save()
    use_keys(new_key)
    assert Setup.objects.get(pk=setup.pk).webhook_secret.reveal() == "new"


# --- what others make of it -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["json", "python", "xml", "jsonl"])
def test_a_dump_holds_neither_clear_text_nor_ciphertext(setup, how):
    dump = str(serializers.serialize(how, Setup.objects.all()))
    assert CLEAR not in dump
    assert "gAAAA" not in dump
    assert SHOWN in dump


def test_loading_a_dump_is_refused_rather_than_losing_the_secrets(setup):
    dump = serializers.serialize("json", Setup.objects.all())
    with pytest.raises(serializers.base.DeserializationError):
        list(serializers.deserialize("json", dump))


def secret_form(setup: Setup, data: dict[str, str] | None = None) -> Any:
    """As an admin would make one: the column's own form field, which is not among the editable ones by itself."""
    secret: Any = Setup._meta.get_field("webhook_secret")

    class Form(forms.ModelForm):  # type: ignore[type-arg]
        webhook_secret = secret.formfield(required=False)

        class Meta:
            model = Setup
            fields = ["label"]

        def save(self, commit: bool = True) -> Any:
            secret.save_form_data(self.instance, self.cleaned_data["webhook_secret"])
            return super().save(commit)

    return Form(data, instance=setup, initial={"webhook_secret": secret.value_from_object(setup)})


def test_a_form_never_shows_it(setup):
    html = secret_form(setup).as_p() + secret_form(setup, {"label": "", "webhook_secret": CLEAR}).as_p()
    assert 'type="password"' in html
    assert CLEAR not in html
    assert "gAAAA" not in html
    assert SHOWN not in html


def test_a_form_field_left_empty_keeps_the_secret_and_a_new_one_replaces_it(setup):
    for typed, then in (("", CLEAR), ("typed", "typed")):
        form = secret_form(setup, {"label": "L", "webhook_secret": typed})
        assert form.is_valid()
        form.save()
        assert Setup.objects.get(pk=setup.pk).webhook_secret.reveal() == then


def test_the_placeholder_is_not_taken_for_a_secret(setup):
    setup.webhook_secret = SHOWN
    with pytest.raises(ValidationError):
        setup.full_clean()


def test_a_serializer_of_every_column_shows_the_placeholder(setup):
    class Everything(ModelSerializer[Setup]):
        class Meta:
            model = Setup
            fields = "__all__"

    body = JSONRenderer().render(Everything(setup).data).decode()
    assert SHOWN in body
    assert CLEAR not in body
    assert "gAAAA" not in body


# --- checks -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "id_"),
    [
        ({"unique": True}, "provisioning.E001"),
        ({"db_index": True}, "provisioning.E001"),
        ({"db_default": "clear"}, "provisioning.E002"),
    ],
)
def test_options_that_cannot_be_right_are_found_by_the_checks(options, id_):
    with isolate_apps("provisioning"):

        class Bad(models.Model):
            secret = SecretTextField(**options)

            class Meta:
                app_label = "provisioning"

            def __str__(self) -> str:
                return ""

        field: Any = Bad._meta.get_field("secret")
        assert id_ in [found.id for found in field.check()]


@pytest.mark.parametrize(
    "meta",
    [
        {"indexes": [models.Index(fields=["secret"], name="i")]},
        {"constraints": [models.UniqueConstraint(fields=["secret"], name="u")]},
        {"unique_together": [("secret", "id")]},
    ],
    ids=lambda meta: next(iter(meta)),
)
def test_so_are_those_of_the_model(meta):
    with isolate_apps("provisioning"):
        options = type("Meta", (), {"app_label": "provisioning", **meta})
        bad: Any = type("Bad", (models.Model,), {"__module__": __name__, "Meta": options, "secret": SecretTextField()})
        assert [found.id for found in bad._meta.get_field("secret").check()] == ["provisioning.E001"]


def test_the_fields_of_the_hub_pass_their_checks():
    for field in Setup._meta.concrete_fields:
        assert field.check() == []
