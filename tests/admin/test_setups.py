"""Setups in the admin: made, connected, mended, closed."""

import re
import uuid

import pytest
from django.test import Client

from provisioning.models import PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Line, Rejected, Subaccount, Uncertain
from routing.models import Account, AuditEntry, Role
from tests.admin.world import World, make_event, operation, sign_in, url
from tests.factories import make_line, make_location, make_member, make_setup, new_phone
from tests.provisioning.fake_provider import CREDENTIALS, FakeProvider

CONNECT = "/admin/provisioning/setup/connect/"


def text(answer: object) -> str:
    """The page's words, without its markup."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())  # type: ignore[attr-defined]


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


@pytest.fixture
def form(ours: World) -> dict[str, str]:
    """The three things a setup asks for."""
    return {
        "location": str(ours.location.pk),
        "business_name": "Harbor Dental",
        "label": "Front desk",
        "setup_id": str(uuid.uuid4()),
    }


# --- list and page ----------------------------------------------------------------------------------------------------


def test_the_list_counts_the_lines(client: Client, ours: World) -> None:
    make_line(ours.setup)
    make_line(ours.setup, phone_number=None)
    make_setup(ours.location, business_name="Empty one", status=SetupStatus.PENDING)
    answer = client.get(url("setup"))
    assert "2 assigned of 3" in answer.content.decode()
    assert ">2/3<" in answer.content.decode()
    # A search by number joins the lines and still counts all of them.
    found = client.get(url("setup"), {"q": ours.account.phone_number}).content.decode()
    assert ">2/3<" in found
    assert "Empty one" not in found


def test_the_page_shows_the_lines_and_the_last_events(client: Client, ours: World) -> None:
    waiting = make_line(ours.setup, phone_number=None)
    for number in range(12):
        make_event(ours.setup, type=f"type_{number}")
    page = text(client.get(url("setup", "change", ours.setup.pk)))
    assert "(555)" in page
    assert "assigned" in page
    assert "pending" in page
    assert waiting.phone_number is None
    assert "to come" in page
    assert "pending for" in page
    assert f"{{IM#1}} {ours.account.label}" in page
    assert "type_11" in page
    assert "type_0" not in page
    assert "All events of this setup" in page


def test_the_problem_is_told_in_words(client: Client, ours: World) -> None:
    setup = make_setup(
        ours.location,
        status=SetupStatus.FAILED,
        credentials=None,
        problem_code="bad_name",
        problem="The provider refused: the name is taken.",
    )
    page = text(client.get(url("setup", "change", setup.pk)))
    assert "The provider refused: the name is taken. bad_name" in page
    assert "not set" in page
    answer = client.get(url("setup", "change", setup.pk)).content.decode()
    for name, offered in (("retry", True), ("attach-credentials", True), ("abandon", True), ("close", False)):
        assert (operation("setup", setup.pk, name) in answer) is offered, name


# --- made -------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_add_asks_three_things_and_calls_the_provider_outside_a_transaction(
    client: Client, form: dict[str, str], provider: FakeProvider
) -> None:
    page = client.get(url("setup", "add")).content.decode()
    assert set(re.findall(r'name="(\w+)"', page.split('id="content-main"')[1])) == {
        "csrfmiddlewaretoken",
        "location",
        "business_name",
        "label",
        "area_code",
        "setup_id",
    }
    assert "<details>" in page  # the area code is under "More"
    assert f'value="{form["location"]}" selected' in page  # the only one there is

    number = new_phone()
    provider.answer = Subaccount(CREDENTIALS, lines=(Line(number),))
    provider.offers(number)
    answer = client.post(url("setup", "add"), form | {"area_code": "415"})

    setup = Setup.objects.get(business_name="Harbor Dental")
    assert answer["Location"] == url("setup", "change", setup.pk)
    assert [wanted.area_code for wanted in provider.created] == ["415"]
    assert provider.in_transaction
    assert not any(provider.in_transaction)
    assert setup.status == SetupStatus.ACTIVE
    assert str(setup.pk) == form["setup_id"]
    assert setup.created_by is not None
    assert setup.created_by.username == "admin-ours"
    assert "Created. At least one phone line is assigned." in text(client.get(answer["Location"]))
    by_whom = AuditEntry.objects.order_by("id").values_list("object_type", "object_id", "user__username")
    account = Account.objects.get(phone_line__setup=setup)
    assert list(by_whom) == [
        ("provisioning.setup", str(setup.pk), "admin-ours"),
        ("routing.account", str(account.pk), None),
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Rejected("name_taken", "The name is taken."), SetupStatus.FAILED, "The provider refused: The name is taken."),
        (Uncertain("timeout", "No answer in time"), SetupStatus.UNKNOWN, "answer was lost"),
    ],
)
def test_what_the_provider_says_is_shown(
    client: Client, form: dict[str, str], provider: FakeProvider, error: Exception, status: str, words: str
) -> None:
    provider.answer = error
    answer = client.post(url("setup", "add"), form, follow=True)
    assert Setup.objects.get(business_name="Harbor Dental").status == status
    assert words in text(answer)
    assert answer.redirect_chain
    assert len(provider.created) == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_refused_is_shown_at_its_field_and_stores_nothing(
    client: Client, form: dict[str, str], provider: FakeProvider
) -> None:
    answer = client.post(url("setup", "add"), form | {"area_code": "015"})
    assert "An area code has three digits" in text(answer)
    assert 'value="Harbor Dental"' in answer.content.decode()
    for blank in ("location", "business_name", "label"):
        assert "This field is required." in text(client.post(url("setup", "add"), form | {blank: ""})), blank
    assert not Setup.objects.filter(business_name="Harbor Dental").exists()
    assert provider.created == []


def test_who_has_several_locations_chooses_among_them(ours: World) -> None:
    second = make_location("Second clinic")
    make_member(second, user=ours.admin, role=Role.ADMIN)
    third = make_location("Third clinic")
    make_member(third, user=ours.admin, role=Role.AGENT)
    page = sign_in(ours.admin).get(url("setup", "add")).content.decode()
    assert "Second clinic" in page
    assert "Third clinic" not in page
    assert "selected" not in page.split("<select")[1].split("</select>")[0].replace('value="" selected', "")


@pytest.mark.django_db(transaction=True)
def test_an_existing_account_is_connected(client: Client, form: dict[str, str], provider: FakeProvider) -> None:
    number = new_phone()
    provider.offers(number)
    assert CONNECT in client.get(url("setup")).content.decode()
    given = form | {"provider": "sendblue", "key_id": "given-key", "secret": "given-secret"}
    assert client.post(CONNECT, given | {"secret": ""}).status_code == 200
    answer = client.post(CONNECT, given, follow=True)
    setup = Setup.objects.get(business_name="Harbor Dental")
    assert provider.created == []
    assert provider.registered[0].credentials.secret == "given-secret"
    assert "Connected." in text(answer)
    assert Account.objects.get(phone_line__setup=setup).phone_number == number
    assert "given-" not in answer.content.decode()
    assert not any(provider.in_transaction)


# --- operations -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_refresh_reads_the_lines(client: Client, ours: World, provider: FakeProvider) -> None:
    provider.offers(ours.account.phone_number, new_phone())
    door = operation("setup", ours.setup.pk, "refresh")
    client.get(door)
    assert provider.listed == []  # looking does nothing
    client.post(door)
    assert len(provider.listed) == 1
    assert not any(provider.in_transaction)
    told = AuditEntry.objects.filter(object_type="provisioning.setup").get()
    assert told.detail == "Phone lines read from the provider."


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_a_message(client: Client, ours: World, provider: FakeProvider) -> None:
    provider.lines = Rejected("no_such_account", "The account is gone.")
    answer = client.post(operation("setup", ours.setup.pk, "refresh"), follow=True)
    assert "The account is gone." in text(answer)
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_secret_is_rotated_after_a_question(client: Client, ours: World, provider: FakeProvider) -> None:
    before = Setup.objects.get(pk=ours.setup.pk).webhook_secret.reveal()
    door = operation("setup", ours.setup.pk, "rotate-webhook-secret")
    assert "The provider is given a new secret" in text(client.get(door))
    assert provider.registered == []
    answer = client.post(door, follow=True)
    after = Setup.objects.get(pk=ours.setup.pk)
    assert after.webhook_secret.reveal() != before
    assert provider.registered[0].secret == after.webhook_secret.reveal()
    assert after.webhook_secret.reveal() not in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_failed_setup_is_retried(client: Client, ours: World, provider: FakeProvider) -> None:
    setup = make_setup(ours.location, status=SetupStatus.FAILED, credentials=None)
    door = operation("setup", setup.pk, "retry")
    assert client.get(door).status_code == 200
    assert provider.created == []
    assert "the setup is pending now" in text(client.post(door, follow=True))
    assert len(provider.created) == 1


@pytest.mark.django_db(transaction=True)
def test_credentials_are_attached_to_an_unknown_setup(client: Client, ours: World, provider: FakeProvider) -> None:
    setup = make_setup(ours.location, status=SetupStatus.UNKNOWN, credentials=None)
    door = operation("setup", setup.pk, "attach-credentials")
    assert "has 1 to 500 plain characters" in text(client.post(door, {"key_id": "a b", "secret": "s"}))
    assert client.post(door, {"key_id": "found-key", "secret": "found-secret"}).status_code == 302
    row = Setup.objects.get(pk=setup.pk)
    assert row.credentials_secret is not None
    assert row.credentials_secret.reveal() == "found-secret"
    assert row.status == SetupStatus.PENDING


def test_an_unknown_setup_is_abandoned_after_a_question(client: Client, ours: World) -> None:
    setup = make_setup(ours.location, status=SetupStatus.UNKNOWN, credentials=None)
    door = operation("setup", setup.pk, "abandon")
    assert client.get(door).status_code == 200
    assert Setup.objects.get(pk=setup.pk).status == SetupStatus.UNKNOWN
    client.post(door)
    assert Setup.objects.get(pk=setup.pk).status == SetupStatus.CLOSED


def test_closing_asks_first_and_releases_the_lines(client: Client, ours: World) -> None:
    door = operation("setup", ours.setup.pk, "close")
    page = client.get(door, follow=True)
    assert "cannot be undone" in text(page)
    assert "1 account stops sending: {IM#1} Desk ours." in text(page)
    assert "{IM#1} is the default of Clinic ours" in text(page)
    assert (page.context["losing"], page.context["switching"]) == (1, 0)
    # A contact would have no sender: even so it asks.
    weighed = client.post(door)["Location"]
    assert Setup.objects.get(pk=ours.setup.pk).status == SetupStatus.ACTIVE
    client.post(weighed)
    assert Setup.objects.get(pk=ours.setup.pk).status == SetupStatus.CLOSED
    assert PhoneLine.objects.get(pk=ours.line.pk).status == "released"
    # In a state that does not allow it, nothing happens, and the person is told.
    assert "not possible in this state" in text(client.post(door, follow=True))
    assert AuditEntry.objects.count() == 1


def test_the_label_changes_and_the_business_name_does_not(client: Client, ours: World) -> None:
    data = {"business_name": "Other", "label": "Other label", "area_code": "999"}
    data |= {"phone_lines-TOTAL_FORMS": "0", "phone_lines-INITIAL_FORMS": "0"}
    assert client.post(url("setup", "change", ours.setup.pk), data).status_code == 302
    row = Setup.objects.get(pk=ours.setup.pk)
    assert (row.business_name, row.label, row.area_code) == ("Business ours", "Other label", "")


def test_lines_are_not_changed_through_the_inline(client: Client, ours: World) -> None:
    data = {
        "label": "L",
        "phone_lines-TOTAL_FORMS": "2",
        "phone_lines-INITIAL_FORMS": "1",
        "phone_lines-0-id": str(ours.line.pk),
        "phone_lines-0-phone_number": "+15550009999",
        "phone_lines-0-DELETE": "on",
        "phone_lines-1-phone_number": "+15550008888",
        "phone_lines-1-status": "pending",
    }
    client.post(url("setup", "change", ours.setup.pk), data)
    assert list(PhoneLine.objects.filter(setup=ours.setup).values_list("pk", "phone_number")) == [
        (ours.line.pk, ours.account.phone_number)
    ]
