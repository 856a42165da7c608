"""Setups in the admin as they move: which need attention, the steps of a making, a page that follows its lines."""

import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from provisioning.models import PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Line, Rejected, Subaccount
from routing.models import AuditEntry, Role
from tests.admin.world import World, make_event, sign_in, url
from tests.factories import make_line, make_location, make_member, make_setup, new_phone
from tests.provisioning.fake_provider import CREDENTIALS, FakeProvider, let_worker_look, make_due

PROGRESS = "/admin/provisioning/setup/progress/"
JSON = {"Accept": "application/json"}


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


@pytest.fixture
def form(ours: World) -> dict[str, str]:
    """What the page of a new setup sends."""
    return {
        "location": str(ours.location.pk),
        "business_name": "Harbor Dental",
        "label": "Front desk",
        "setup_id": str(uuid.uuid4()),
    }


def live(setup: Setup) -> str:
    """The moving part of the setup's page."""
    return reverse("admin:provisioning_setup_live", args=[setup.pk])


def states(client: Client, setup_id: object) -> dict[str, str]:
    """Step → state."""
    return {step["name"]: step["state"] for step in client.get(PROGRESS, {"id": str(setup_id)}).json()["steps"]}


# --- attention --------------------------------------------------------------------------------------------------------


def test_those_that_need_attention_are_found(client: Client, ours: World) -> None:
    now = timezone.now()
    make_setup(ours.location, business_name="Lost", status=SetupStatus.UNKNOWN)
    make_setup(ours.location, business_name="Refused", status=SetupStatus.FAILED)
    make_setup(ours.location, business_name="Rejected", credentials_rejected_at=now)
    make_setup(ours.location, business_name="Over", status=SetupStatus.CLOSED, credentials_rejected_at=now)
    late = make_setup(ours.location, business_name="Late", status=SetupStatus.PENDING)
    make_line(late, phone_number=None, requested_at=now - timedelta(days=3))
    make_line(late, phone_number=None)
    fresh = make_setup(ours.location, business_name="Fresh", status=SetupStatus.PENDING)
    make_line(fresh, phone_number=None, requested_at=now - timedelta(hours=3))
    everything = client.get(url("setup")).content.decode()
    assert "4 setups need attention" in everything
    assert "for 3\xa0days" in everything
    assert "for 3\xa0hours" in everything
    assert "credentials rejected" in everything
    answer = client.get(url("setup"), {"attention": "yes"})
    found = {setup.business_name: setup for setup in answer.context["cl"].result_list}
    assert set(found) == {"Lost", "Refused", "Rejected", "Late"}
    # What is filtered still counts all its lines.
    assert (found["Late"].phone_line_count, found["Late"].assigned_line_count) == (2, 0)


def test_another_tenants_trouble_is_nobodys_here(client: Client, ours: World, theirs: World) -> None:
    make_setup(theirs.location, status=SetupStatus.UNKNOWN)
    page = client.get(url("setup"))
    assert page.context["attention"] == 0
    assert not client.get(url("setup"), {"attention": "yes"}).context["cl"].result_list


def test_an_account_that_has_to_be_paid_is_called_that(client: Client, ours: World) -> None:
    make_setup(
        ours.location, credentials_rejected_at=timezone.now(), problem_code="payment_required", problem="Pay first."
    )
    page = client.get(url("setup")).content.decode()
    assert "payment required at the provider" in page
    assert "credentials rejected" not in page


def test_list_and_page_run_the_same_queries_however_much_there_is(client: Client, ours: World) -> None:
    def count(page: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page).status_code == 200
        return len(queries)

    pages = (url("setup"), url("setup", "change", ours.setup.pk), live(ours.setup))
    for page in pages:
        client.get(page)  # what is remembered for long is remembered from here on
    few = [count(page) for page in pages]
    for _ in range(15):
        make_line(make_setup(ours.location), phone_number=None)
        make_line(ours.setup)
        make_event(ours.setup)
    assert [count(page) for page in pages] == few


# --- made once, and watched -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_twice_makes_one_setup(
    client: Client, form: dict[str, str], provider: FakeProvider
) -> None:
    first, second = (client.post(url("setup", "add"), form) for _ in range(2))
    assert first["Location"] == second["Location"] == url("setup", "change", form["setup_id"])
    assert len(provider.created) == 1
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_old_form_with_other_words_asks_before_it_makes_another(
    client: Client, form: dict[str, str], provider: FakeProvider
) -> None:
    client.post(url("setup", "add"), form)
    other = form | {"business_name": "Second business"}
    page = client.post(url("setup", "add"), other)
    assert "This form made a setup already." in page.content.decode()
    assert len(provider.created) == 1
    fresh = re.search(r'name="setup_id" value="([^"]+)"', page.content.decode())
    assert fresh is not None
    assert fresh[1] != form["setup_id"]
    client.post(url("setup", "add"), other | {"setup_id": fresh[1]})
    assert len(provider.created) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("given", ["theirs", "not-an-id", ""])
def test_another_tenants_id_is_refused_as_any_that_is_none(
    client: Client, form: dict[str, str], theirs: World, provider: FakeProvider, given: str
) -> None:
    answer = client.post(url("setup", "add"), form | {"setup_id": str(theirs.setup.pk) if given == "theirs" else given})
    assert answer.status_code == 200
    assert "This form was out of date. Press Create once more." in answer.content.decode()
    assert b"CANARY" not in answer.content
    assert str(theirs.setup.pk) not in answer.content.decode()
    assert provider.created == []


@pytest.mark.django_db(transaction=True)
def test_the_steps_are_told_while_the_provider_is_asked(
    client: Client, form: dict[str, str], provider: FakeProvider
) -> None:
    number = new_phone()
    seen: list[dict[str, str]] = []

    def creating() -> Subaccount:
        seen.append(states(client, form["setup_id"]))
        return Subaccount(CREDENTIALS, lines=(Line(number),))

    def registering() -> None:
        seen.append(states(client, form["setup_id"]))

    def reading() -> list[Line]:
        seen.append(states(client, form["setup_id"]))
        return [Line(number)]

    provider.answer, provider.registering, provider.lines = creating, registering, reading
    assert set(states(client, form["setup_id"]).values()) == {"now", "waiting"}
    answer = client.post(url("setup", "add"), form, headers=JSON)
    assert answer.json() == {"page": url("setup", "change", form["setup_id"])}
    seen.append(states(client, form["setup_id"]))
    assert [[step[name] for name in ("stored", "asked", "credentials", "webhooks", "lines")] for step in seen] == [
        ["done", "now", "waiting", "waiting", "waiting"],
        ["done", "done", "done", "now", "waiting"],
        ["done", "done", "done", "done", "now"],
        ["done", "done", "done", "done", "done"],
    ]
    # What it says on the page that follows was not used up by the script.
    assert "Created." in client.get(answer.json()["page"]).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_a_step_that_was_not_done(client: Client, form: dict[str, str], provider: FakeProvider) -> None:
    provider.answer = Rejected("name_taken", "The name is taken.")
    client.post(url("setup", "add"), form, headers=JSON)
    assert states(client, form["setup_id"])["asked"] == "failed"


@pytest.mark.django_db(transaction=True)
def test_what_is_refused_comes_back_as_the_form(client: Client, form: dict[str, str], provider: FakeProvider) -> None:
    answer = client.post(url("setup", "add"), form | {"area_code": "015"}, headers=JSON)
    assert answer["Content-Type"].startswith("text/html")
    assert "An area code has three digits" in answer.content.decode()
    assert provider.created == []


def test_the_progress_of_others_is_that_of_nobody(client: Client, ours: World, theirs: World) -> None:
    theirs_, nobodys = (client.get(PROGRESS, {"id": str(pk)}) for pk in (theirs.setup.pk, uuid.uuid4()))
    assert theirs_.content == nobodys.content
    assert theirs_.json()["page"] == ""
    assert client.get(PROGRESS).status_code == 404
    assert client.get(PROGRESS, {"id": "x"}).status_code == 404
    for user in (ours.agent, ours.viewer):
        assert sign_in(user).get(PROGRESS, {"id": str(ours.setup.pk)}).status_code == 403
    assert Client().get(PROGRESS, {"id": str(ours.setup.pk)}).status_code == 302


# --- the page that follows --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_one_sees_a_pending_line_become_assigned(client: Client, ours: World, provider: FakeProvider) -> None:
    setup = make_setup(ours.location, status=SetupStatus.PENDING, due_at=timezone.now())
    line = make_line(setup, phone_number=None)
    before = client.get(live(setup)).content.decode()
    assert "data-moves" in before
    assert "The setup is pending; 0 of 1 phone lines assigned." in before
    number = new_phone()
    provider.offers(number)
    make_due(setup)
    let_worker_look()
    after = client.get(live(setup)).content.decode()
    assert PhoneLine.objects.get(pk=line.pk).phone_number == number
    assert "The setup is active; 1 of 1 phone lines assigned." in after
    assert f'title="{number}"' in after
    assert "data-moves" not in after  # nothing is to come: the page rests


def test_the_moving_part_stands_in_the_page(client: Client, ours: World) -> None:
    page = client.get(url("setup", "change", ours.setup.pk)).content.decode()
    assert f'data-url="{live(ours.setup)}"' in page
    assert "All events of this setup" in page


def test_times_are_those_of_the_location(ours: World) -> None:
    far = make_location("Far", time_zone="Pacific/Auckland")
    admin = make_member(far, Role.ADMIN, user=ours.admin)
    setup = make_setup(far)
    make_event(setup, received_at=timezone.now().replace(year=2024, month=1, day=1, hour=12))
    assert "Jan 2, 2024, 1:" in sign_in(admin).get(live(setup)).content.decode()


def test_others_see_nothing_of_it(client: Client, ours: World, theirs: World) -> None:
    answer = client.get(live(theirs.setup))
    assert answer.status_code == 404
    assert b"CANARY" not in answer.content
    assert client.get("/admin/provisioning/setup/x/live/").status_code in (400, 404)
    assert sign_in(ours.viewer).get(live(ours.setup)).status_code == 200
