"""No admin page, form, message or history shows a secret, whatever is typed or asked."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.utils import timezone

from provisioning.models import Setup, SetupStatus
from provisioning.providers.base import Credentials
from routing.models import ApiKey, AuditEntry, User
from tests.admin.world import World, make_event, operation, sign_in, url
from tests.factories import make_setup

KEY_ID, SECRET, HOOK, OLD_HOOK = "canary-key-id-5511", "canary-secret-7722", "canary-hook-9933", "canary-old-hook-1144"


@pytest.fixture
def guarded(ours: World) -> Setup:
    """A setup whose secrets are known, in the state with the most buttons."""
    return make_setup(
        ours.location,
        status=SetupStatus.UNKNOWN,
        credentials=Credentials(key_id=KEY_ID, secret=SECRET),
        webhook_secret=HOOK,
        previous_webhook_secret=OLD_HOOK,
        previous_webhook_secret_until=timezone.now(),
        credentials_rejected_at=timezone.now(),
        business_name="Guarded",
    )


def secrets_of(setup: Setup) -> Iterator[bytes]:
    """In clear and as ciphertext, and the key that stands in the webhook's URL."""
    row = Setup.objects.get(pk=setup.pk)
    for text in (KEY_ID, SECRET, HOOK, OLD_HOOK, row.webhook_key):
        yield text.encode()
    for sealed in (row.webhook_secret, row.previous_webhook_secret, row.credentials_key_id, row.credentials_secret):
        assert sealed is not None
        yield sealed.token.encode()


def check(client: Client, pages: list[str], unwanted: list[bytes]) -> None:
    """None of the words on any of the pages."""
    for page in pages:
        answer = client.get(page, follow=True)
        assert answer.status_code == 200, page
        for word in unwanted:
            assert word not in answer.content, (page, word)


def test_no_page_shows_a_stored_secret(ours: World, guarded: Setup, operator: User) -> None:
    event = make_event(guarded)
    pages = [
        url("setup"),
        url("providerevent"),
        url("providerevent", "change", event.pk),
        "/admin/",
        url("setup", "add"),
    ]
    pages += [url("setup", page, guarded.pk) for page in ("change", "history")]
    pages += [operation("setup", guarded.pk, item.name) for item in admin.site.get_model_admin(Setup).operations]  # type: ignore[attr-defined]
    pages += [url("account", "change", ours.account.pk), url("apikey", "change", ours.api_key.pk)]
    pages.append("/admin/autocomplete/?app_label=provisioning&model_name=providerevent&field_name=setup&term=Guarded")
    unwanted = [*secrets_of(guarded), ApiKey.objects.get(pk=ours.api_key.pk).digest.encode()]
    for user in (ours.admin, ours.viewer, operator):
        client = sign_in(user)
        mine = pages if user != ours.viewer else [page for page in pages if "/do/" not in page and "apikey" not in page]
        mine = [page for page in mine if user != ours.viewer or not page.endswith("/add/")]
        check(client, mine, unwanted)
    shown = sign_in(ours.admin).get(url("setup", "change", guarded.pk)).content.decode()
    assert f"set on {timezone.now():%B %-d, %Y}" in shown


def test_what_is_typed_is_not_given_back_by_a_form_with_errors(ours: World, guarded: Setup) -> None:
    client = sign_in(ours.admin)
    typed = {"key_id": "typed-key-id", "secret": "typed secret"}  # a space: refused
    answers = [
        client.post(operation("setup", guarded.pk, "attach-credentials"), typed),
        client.post(operation("setup", guarded.pk, "attach-credentials"), {"key_id": "typed-key-id", "secret": ""}),
        client.post("/admin/provisioning/setup/connect/", typed | {"business_name": ""}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert b"errorlist" in answer.content
        assert b"typed" not in answer.content
    # A blank field stores nothing.
    row = Setup.objects.get(pk=guarded.pk)
    assert row.credentials_secret is not None
    assert row.credentials_secret.reveal() == SECRET
    assert not AuditEntry.objects.exists()


def test_secret_fields_are_write_only(ours: World, guarded: Setup) -> None:
    page = sign_in(ours.admin).get(operation("setup", guarded.pk, "attach-credentials")).content.decode()
    for name in ("key_id", "secret"):
        tag = next(part for part in page.split("<input") if f'name="{name}"' in part)
        assert 'type="password"' in tag
        assert 'autocomplete="new-password"' in tag
        assert "value=" not in tag.split(">")[0]


def test_the_change_form_takes_no_secret(ours: World, guarded: Setup) -> None:
    before = Setup.objects.filter(pk=guarded.pk).values().get()
    names = ("webhook_secret", "webhook_key", "credentials_key_id", "credentials_secret", "status", "provider")
    data: dict[str, Any] = dict.fromkeys(names, "forged") | {"label": "New label", "business_name": "forged"}
    data |= {"phone_lines-TOTAL_FORMS": "0", "phone_lines-INITIAL_FORMS": "0"}
    assert sign_in(ours.admin).post(url("setup", "change", guarded.pk), data).status_code == 302
    after = Setup.objects.filter(pk=guarded.pk).values().get()
    assert after == before | {"label": "New label"}


def test_an_api_key_is_shown_once(ours: World) -> None:
    client = sign_in(ours.admin)
    answer = client.post(url("apikey", "add"), {"location": ours.location.pk, "name": "Booking tool"})
    assert answer.status_code == 200
    key = answer.context["key"]
    row = ApiKey.objects.get(name="Booking tool")
    assert key.startswith("imh_")
    assert key.encode() in answer.content
    assert "no-store" in answer["Cache-Control"]
    # Neither in a cookie nor on any later page.
    assert all(key not in morsel.value for morsel in client.cookies.values())
    pages = [url("apikey"), url("apikey", "change", row.pk), url("apikey", "history", row.pk), "/admin/"]
    check(client, pages, [key.encode(), row.digest.encode()])
    entry = AuditEntry.objects.get()
    assert key not in f"{entry.object_name}{entry.detail}{entry.changes}"


def test_secrets_inside_event_bodies_are_masked(ours: World) -> None:
    body = b'{"content": "hi", "api_secret": "canary-in-body", "deep": [{"authToken": "canary-in-body"}]}'
    event = make_event(ours.setup, body=body)
    shown = sign_in(ours.admin).get(url("providerevent", "change", event.pk)).content
    assert b"canary-in-body" not in shown
    assert b"[not shown]" in shown
    assert b"content" in shown
