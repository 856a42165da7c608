"""The home page: what it shows of a location, to whom, and at what cost."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from imessage_hub.home_chart import draw
from messaging.advice import ADVICE, advice
from messaging.models import Message
from messaging.statistics import Volume, roll_up
from provisioning.models import SetupStatus
from provisioning.providers.base import Health
from routing.models import Location, Role, User
from routing.selection import Code
from tests.admin.world import World, sign_in, url
from tests.factories import (
    make_account,
    make_contact,
    make_line,
    make_location,
    make_member,
    make_message,
    make_setup,
    make_user,
)

HOME = "/admin/"


def page(client: Client, query: str = "") -> str:
    """The page as it comes, line breaks and indentation closed up."""
    answer = client.get(HOME + query)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def section(content: str, name: str) -> str:
    """The words of one card."""
    found = re.search(rf'<section[^>]*aria-labelledby="home-{name}">(.*?)</section>', content)
    return "" if found is None else " ".join(re.sub(r"<title>.*?</title>|<[^>]+>", " ", found[1]).split())


@pytest.fixture
def client(ours: World) -> Client:
    """The admin's browser."""
    return sign_in(ours.admin)


@pytest.fixture(autouse=True)
def _noon_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run at midnight see one day all the same: the location's zone is put where it is the middle of it."""
    hour = timezone.now().hour
    zone = f"Etc/GMT{(hour - 12):+d}" if hour != 12 else "Etc/GMT"
    made = Location._meta.get_field("time_zone")
    monkeypatch.setattr(made, "default", zone)


def say(world: World, **columns: Any) -> Message:
    """A message of the location that the provider has, or that is as `columns` say."""
    columns = {"dispatch_state": "accepted", "due_at": None} | columns
    return make_message(world.contact, account=world.account, **columns)


# --- today ------------------------------------------------------------------------------------------------------------


def test_today_is_told_by_state_and_by_rule(client: Client, ours: World) -> None:
    say(ours, rule="contact_tag", delivered_at=timezone.now())
    say(ours, rule="contact_tag")
    say(ours, rule="contact_tag", created_at=timezone.now() - timedelta(days=1))
    make_message(ours.contact, account=ours.account, received=True, text="Thank you!")
    content = page(client)
    assert section(content, "today") == (
        "Today Sent today 2 1 arrived Received today 1 last "
        + section(content, "today").split("last ")[1].split(" On their")[0]
        + " On their way 1 queued or scheduled today Failed today 0 all is well"
    )
    assert section(content, "states") == "Today by state queued : 1 accepted : 1 delivered : 1 received : 1"
    assert section(content, "rules").endswith("Tag : 2 Assigned user : 1")
    chosen = f"location__id__exact={ours.location.pk}"
    for name in (f"{chosen}&amp;status=delivered", f"{chosen}&amp;rule=contact_tag"):
        link = re.search(rf'href="({re.escape(url("message"))}\?{re.escape(name)}[^"]*)"', content)
        assert link, name
        assert client.get(link[1].replace("&amp;", "&")).status_code == 200


def test_failures_are_told_with_what_to_do(client: Client, ours: World) -> None:
    assert section(page(client), "failures") == "Failed today Nothing failed today."
    for code in ("4002", "4002", "no_connected_account"):
        say(ours, dispatch_state="rejected", code=code, detail="words of the provider")
    say(ours, failed_at=timezone.now(), failed_code="77<b>", detail="Odd <i>words</i>")
    say(ours, failed_at=timezone.now())
    say(ours, dispatch_state="expired", code="expired")
    content = page(client)
    told = section(content, "failures")
    assert told.startswith("Failed today All failed messages 2 The provider does not send to this number.")
    assert "Check the contact&#x27;s number." in told
    assert "No account of the location could send." in told
    assert "<i>words</i>" not in content
    assert "Odd &lt;i&gt;words&lt;/i&gt;" in content
    assert "The provider did not say why." in told
    assert "It could not be sent before its time ran out." in told
    assert "status=expired" in content


def test_every_code_of_a_decision_has_advice() -> None:
    assert {code.value for code in Code} <= set(ADVICE)
    for code, told in ADVICE.items():
        assert told.reason.endswith("."), code
        assert told.action.endswith("."), code
    assert not advice("new").known


# --- what needs attention ---------------------------------------------------------------------------------------------


def test_lines_and_setups_that_need_somebody(client: Client, ours: World) -> None:
    assert section(page(client), "attention") == "Needs attention All lines are fine."
    now = timezone.now()
    make_line(ours.setup, phone_number=None, requested_at=now - timedelta(days=3, hours=2))
    make_line(ours.setup, phone_number=None, requested_at=now - timedelta(minutes=5))
    for health in (Health.BLOCKED, Health.OFFLINE, Health.DEGRADED):
        make_line(ours.setup, account=make_account(ours.location), health=health)
    make_setup(ours.location, business_name="Rejected", credentials_rejected_at=now - timedelta(hours=2))
    make_setup(ours.location, business_name="Lost", status=SetupStatus.UNKNOWN)
    make_setup(ours.location, business_name="Broken", status=SetupStatus.FAILED)
    closed = make_setup(ours.location, business_name="Closed", status=SetupStatus.CLOSED, credentials_rejected_at=now)
    make_line(closed, phone_number=None)
    content = page(client)
    told = section(content, "attention")
    words = ["blocked", "offline", "degraded", "credentials rejected for 2\xa0hours", "unknown", "failed"]
    for word in (*words, "pending for 3\xa0days", "pending for 5\xa0minutes", "This takes longer than usual"):
        assert word.replace("\xa0", " ") in told.replace("\xa0", " "), word
    assert "Closed" not in told
    assert told.index("credentials rejected") < told.index("degraded") < told.index("pending for 5")
    assert f'href="{url("setup", "change", ours.setup.pk)}"' in content


def test_uncertain_messages_lie_on_the_desk(client: Client, ours: World, settings: Any) -> None:
    say(ours, dispatch_state="uncertain", uncertain_at=timezone.now())
    assert "unknown outcome" not in page(client)
    say(ours, dispatch_state="uncertain", uncertain_at=timezone.now() - settings.HUB_UNCERTAIN_GRACE)
    assert "1 message of unknown outcome" in page(client)
    for _ in range(100):
        say(ours, dispatch_state="uncertain", uncertain_at=timezone.now() - settings.HUB_UNCERTAIN_GRACE)
    assert "99+ messages of unknown outcome" in page(client)


def test_the_last_one_in_leads_to_its_conversation(client: Client, ours: World) -> None:
    assert "Nobody wrote yet" in section(page(client), "inbound")
    last = make_message(ours.contact, account=ours.account, received=True, text="See <b>you</b>")
    content = page(client)
    assert "Patient ours" in section(content, "inbound")
    assert escape("See <b>you</b>") in content
    link = re.search(r'class="home-inbound" href="([^"]+)"', content)
    assert link
    assert str(last.pk) in link[1] or str(ours.contact.pk) in link[1]
    assert client.get(link[1]).status_code == 200


# --- chart ------------------------------------------------------------------------------------------------------------


def test_the_chart_has_a_table_and_a_legend(client: Client, ours: World) -> None:
    for back in (1, 1, 3):
        say(ours, created_at=timezone.now() - timedelta(days=back))
    say(ours, created_at=timezone.now() - timedelta(days=1), dispatch_state="rejected", code="x")
    content = page(client)
    told = section(content, "chart")
    assert "Sent 3 Received 0 Failed 1" in told
    assert "The figures as a table" in told
    assert content.count('<th scope="row">') == 14
    assert content.count('class="home-bar-sent"') == 2
    assert content.count('class="home-bar-failed"') == 1
    assert 'aria-hidden="true"' in content.split('class="home-chart"')[1][:30]


def test_bars_are_as_high_as_their_share() -> None:
    day = datetime(2026, 11, 25).date()  # noqa: DTZ001  (a date)
    chart = draw([Volume(day, sent=1, received=10_000), Volume(day, counted=False), Volume(day, sent=60, failed=40)])
    assert chart.steps == (10_000, 5_000, 0)
    heights = [[(bar.kind, bar.y, bar.height) for bar in day.bars] for day in chart.days]
    assert heights[0] == [("sent", 237, 3), ("received", 0, 240)], "what is there at all can be seen"
    assert heights[1] == [("unknown", 0, 240)]
    assert chart.days[2].is_today
    assert chart.days[1].words == "not counted yet"
    assert draw([Volume(day)]).empty
    assert not draw([Volume(day, counted=False)]).empty


def test_an_empty_location_says_so(ours: World) -> None:
    location = make_location()
    told = page(sign_in(make_member(location, Role.ADMIN)))
    assert "Nothing was said here lately" in section(told, "chart")
    assert "There is no line yet. Create a setup to get one." in section(told, "attention")
    told = page(sign_in(make_member(location, Role.VIEWER)))
    assert "An admin of the location can create a setup to get one." in section(told, "attention")


# --- first steps ------------------------------------------------------------------------------------------------------


def done(content: str) -> list[bool]:
    """Which of the steps are ticked off."""
    return ["home-step-done" in item for item in re.findall(r'<li class="(home-step[^"]*)"', content)]


def test_first_steps_are_ticked_off_by_what_is_there(db: None) -> None:
    location = make_location()
    admin = make_member(location, Role.ADMIN)
    client = sign_in(admin)
    assert done(page(client)) == [False] * 6
    assert f'href="{url("setup", "add")}?location={location.pk}"' in page(client)
    assert client.get(f"{url('setup', 'add')}?location={location.pk}").status_code == 200
    setup = make_setup(location)
    line = make_line(setup, phone_number=None)
    assert done(page(client)) == [True, False, False, False, False, False]
    line.delete()
    account = make_account(location)
    make_line(setup, account=account)
    assert done(page(client)) == [True, True, False, False, False, False]
    Location.objects.filter(pk=location.pk).update(default_account=account)
    make_member(location, Role.VIEWER)
    assert done(page(client)) == [True, True, True, True, False, False]
    contact = make_contact(location)
    message = make_message(contact, account=account)
    assert done(page(client)) == [True, True, True, True, True, False], "it is not sent yet"
    Message.objects.filter(pk=message.pk).update(dispatch_state="accepted")
    assert done(page(client)) == []


@pytest.mark.parametrize(("role", "steps"), [(Role.ADMIN, 6), (Role.AGENT, 1), (Role.VIEWER, 0)])
def test_steps_are_for_those_who_can_take_them(role: Role, steps: int, db: None) -> None:
    content = page(sign_in(make_member(make_location(), role)))
    assert len(done(content)) == steps
    assert ("Invite your team" in content) is (role == Role.ADMIN)


# --- whose location ---------------------------------------------------------------------------------------------------


def test_another_location_is_as_if_it_were_not_there(client: Client, ours: World, theirs: World) -> None:
    foreign = client.get(f"{HOME}?location={theirs.location.pk}")
    absent = client.get(f"{HOME}?location={uuid4()}")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content
    assert client.get(f"{HOME}?location=nonsense").status_code == 400
    assert client.get(f"{HOME}?location=%00").status_code == 400
    assert "CANARY" not in page(client)
    assert "CANARY" not in page(client, "?find=CANARY")
    assert "home-picker" not in page(client)


def test_nothing_of_another_location_is_counted(client: Client, ours: World, theirs: World) -> None:
    before = re.sub(r'csrf\w+" value="\w+"', "", page(client))
    make_message(theirs.contact, account=theirs.account, received=True)
    make_line(theirs.setup, phone_number=None)
    say(theirs, dispatch_state="rejected", code="4002")
    assert re.sub(r'csrf\w+" value="\w+"', "", page(client)) == before


def test_a_member_of_several_picks_one(ours: World, theirs: World) -> None:
    user = make_member(ours.location, Role.VIEWER)
    second = make_location("Another of mine")
    client = sign_in(make_member(second, Role.ADMIN, user=user))
    content = page(client)
    assert "<h1>Another of mine</h1>" in content
    assert "First steps" in content
    assert f'href="?location={ours.location.pk}"' in content
    assert "CANARY" not in content
    content = page(client, f"?location={ours.location.pk}")
    assert "<h1>Clinic ours</h1>" in content
    assert "First steps" not in content, "a viewer here"


def test_operators_find_any_location(ours: World, theirs: World, operator: User) -> None:
    for number in range(25):
        make_location(f"Branch {number:02}")
    client = sign_in(operator)
    content = page(client)
    assert "<h1>Branch 00</h1>" in content
    assert "type a part of the name" in content
    assert "Clinic CANARY" not in content
    content = page(client, f"?location={ours.location.pk}&find=canary")
    assert "<h1>Clinic ours</h1>" in content
    assert f'href="?location={theirs.location.pk}"' in content
    assert "No location has this in its name" in page(client, "?find=%00nowhere")


def test_who_belongs_nowhere_is_told_whom_to_ask(db: None) -> None:
    content = page(sign_in(make_user("newcomer")))
    assert "You belong to no location yet" in content
    assert "<strong>newcomer</strong>" in content
    operator = sign_in(make_user(superuser=True))
    assert "There is no location yet" in page(operator)
    assert f'href="{url("location", "add")}"' in page(operator)


def test_days_are_those_of_the_location(ours: World) -> None:
    Location.objects.filter(pk=ours.location.pk).update(time_zone="Pacific/Kiritimati")
    east = page(sign_in(User.objects.get(pk=ours.admin.pk)))
    Location.objects.filter(pk=ours.location.pk).update(time_zone="Pacific/Pago_Pago")
    west = page(sign_in(User.objects.get(pk=ours.admin.pk)))
    days = {content.split('<p class="hub-subtitle">')[1].split("<")[0] for content in (east, west)}
    assert len(days) == 2, "25 hours lie between them"


# --- cost -------------------------------------------------------------------------------------------------------------


def fill(world: World, count: int) -> None:
    """So many messages of the location, one each three minutes of the last fortnight."""
    first = say(world, rule="contact_tag", code="4002", dispatch_state="rejected")
    names = [field.attname for field in Message._meta.concrete_fields if not field.generated]
    values = {name: getattr(first, name) for name in names if name not in ("id", "position", "created_at")}
    last = 1_000_000 * count  # beyond what the sequence gave
    rows = []
    for number in range(count):
        at = timezone.now() - timedelta(minutes=number * 3 % 20_000)
        rows.append(Message(**values, position=last + number, created_at=at))
    Message.objects.bulk_create(rows, batch_size=500)


def test_it_costs_the_same_at_ten_messages_and_at_ten_thousand(client: Client, ours: World) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(client)
        return len(queries)

    page(client)
    fill(ours, 10)
    few = cost()
    fill(ours, 10_000)
    assert cost() == few
    assert few <= 18


@pytest.mark.postgres
def test_no_query_walks_the_table_of_messages(client: Client, ours: World) -> None:
    fill(ours, 10_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messaging_message")
    roll_up()
    with CaptureQueriesContext(connection) as queries:
        page(client)
    plans = []
    for query in queries:
        if '"messaging_message"' in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
    assert len(plans) >= 5, "today twice, the last one in, the desk, the steps"
    for plan in plans:
        assert "Seq Scan on messaging_message" not in plan, plan
