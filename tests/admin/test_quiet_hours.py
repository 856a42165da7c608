"""Quiet hours on a location's page: set by rows of days and times, followed by what waits, told to who only looks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from messaging.models import Message
from routing.models import AuditEntry, Location
from routing.quiet_hours import DAYS
from tests.admin.test_conversations import words
from tests.admin.world import World, send_message, sign_in, url
from tests.factories import make_api_key

HOUR = timedelta(hours=1)


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


def form(world: World, *rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The location's form as a browser sends it, with rows of quiet hours."""
    place = Location.objects.get(pk=world.location.pk)
    data: dict[str, Any] = {
        name: getattr(place, name)
        for name in (
            "name", "region", "time_zone", "unavailable_tag_account", "unavailable_user_account", "second_factor",
        )
    }  # fmt: skip
    empty = {"days": [], "from": "", "to": ""}
    for number, row in enumerate([*rows, empty, empty]):
        data |= {f"quiet_hours-{number}-{name}": value for name, value in row.items()}
    return data | fields


def row(begins: str, ends: str, *days: str, **more: Any) -> dict[str, Any]:
    """A row of the form."""
    return {"days": list(days or DAYS), "from": begins, "to": ends} | more


def save(client: Client, world: World, *rows: dict[str, Any], **fields: Any) -> Any:
    """The answer to saving the form."""
    return client.post(url("location", "change", world.location.pk), form(world, *rows, **fields))


def stored(world: World) -> Any:
    """The location's quiet hours."""
    return Location.objects.values_list("quiet_hours", flat=True).get(pk=world.location.pk)


def hours_around(moment: datetime) -> tuple[str, str]:
    """From an hour before to an hour after, as a time of day."""
    return f"{moment - HOUR:%H:%M}", f"{moment + HOUR:%H:%M}"


def test_rows_become_windows_and_are_shown_again(client: Client, ours: World) -> None:
    night = row("21:00", "08:00", "mon", "fri")
    assert save(client, ours, night, row("00:00:00", "00:00", "sun")).status_code == 302
    assert stored(ours) == [
        {"days": ["mon", "fri"], "from": "21:00", "to": "08:00"},
        {"days": ["sun"], "from": "00:00", "to": "00:00"},
    ]
    shown = client.get(url("location", "change", ours.location.pk)).content.decode()
    assert 'name="quiet_hours-0-days" value="fri" id="id_quiet_hours-0-fri" checked' in shown
    assert 'name="quiet_hours-0-days" value="tue" id="id_quiet_hours-0-tue">' in shown
    assert 'name="quiet_hours-0-from" value="21:00"' in shown
    assert "Window 4" in shown
    assert "Window 5" not in shown
    # Every field has a name of its own.
    assert shown.count("quiet_hours-3-") >= 9
    [entry] = AuditEntry.objects.all()
    assert entry.changes == {
        "quiet_hours": [
            "",
            "Monday and Friday, 21:00 to 08:00 the next day; Sunday, 00:00 to 00:00 the next day",
        ]
    }


def test_saving_without_a_change_changes_nothing(client: Client, ours: World) -> None:
    save(client, ours, row("21:00", "08:00"))
    before = AuditEntry.objects.count()
    assert save(client, ours, row("21:00", "08:00")).status_code == 302
    assert AuditEntry.objects.count() == before + 1
    assert AuditEntry.objects.order_by("-id")[0].changes == {}


def test_a_row_is_removed_by_its_box_or_by_emptying_it(client: Client, ours: World) -> None:
    save(client, ours, row("21:00", "08:00"), row("12:00", "13:00"), row("15:00", "16:00"))
    save(client, ours, row("21:00", "08:00", remove="on"), row("12:00", "13:00"), {"days": [], "from": "", "to": ""})
    assert [window["from"] for window in stored(ours)] == ["12:00"]


def test_a_form_without_the_rows_leaves_them(client: Client, ours: World) -> None:
    save(client, ours, row("21:00", "08:00"))
    data = {name: value for name, value in form(ours).items() if not name.startswith("quiet_hours")}
    assert client.post(url("location", "change", ours.location.pk), data | {"name": "New"}).status_code == 302
    assert [window["from"] for window in stored(ours)] == ["21:00"]
    assert set(AuditEntry.objects.order_by("-id")[0].changes) == {"name"}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row("21:00", "")], "Window 1: choose when it begins and when it ends."),
        ([row("12:00", "13:00"), {"days": [], "from": "21:00", "to": "08:00"}], "Window 2: choose the days"),
        ([row("12:00", "13:00"), row("25:00", "08:00")], "Window 2: write “from”"),
        ([row("12:00", "13:00", "mon", "mon")], "Window 1: a day stands in it twice."),
        ([row("12:00", "13:00", "someday")], "Window 1: days are among"),
        ([row("00:00", "00:00")], "These quiet hours cover the whole week"),
        ([row("00:00", "12:00"), row("12:00", "00:00")], "These quiet hours cover the whole week"),
    ],
)
def test_what_is_wrong_is_told_and_what_was_typed_stays(
    client: Client, ours: World, rows: list[dict[str, Any]], told: str
) -> None:
    answer = save(client, ours, *rows)
    assert answer.status_code == 200
    assert told in words(answer.content.decode())
    assert f'value="{rows[-1]["from"]}"' in answer.content.decode()
    assert stored(ours) == []


def test_odd_rows_break_nothing(client: Client, ours: World) -> None:
    odd = {
        "quiet_hours-x-days": "mon",
        "quiet_hours-99-days": ["mon"],
        "quiet_hours-99-from": "\0",
        "quiet_hours--from": "1",
        "quiet_hours-100-from": "21:00",
    }
    assert client.post(url("location", "change", ours.location.pk), form(ours) | odd).status_code == 200
    assert stored(ours) == []


def test_what_waits_follows_in_the_same_moment(client: Client, ours: World) -> None:
    now = timezone.now().astimezone(UTC)
    begins, ends = hours_around(now)
    assert save(client, ours, row(begins, ends), time_zone="UTC").status_code == 302
    waiting = send_message(Location.objects.get(pk=ours.location.pk), ours.contact)
    assert waiting.code == "quiet_hours"
    save(client, ours, row(begins, f"{now + 3 * HOUR:%H:%M}"))
    moved = Message.objects.get(pk=waiting.pk)
    assert moved.due_at == (now + 3 * HOUR).replace(second=0, microsecond=0)
    # By other clocks these hours are at another time.
    save(client, ours, row(begins, ends), time_zone="Asia/Kolkata")
    free = Message.objects.get(pk=waiting.pk)
    assert (free.code, free.detail) == ("", "")
    assert free.due_at is not None
    assert free.due_at <= timezone.now()


def test_who_may_only_look_reads_them_in_words(client: Client, ours: World) -> None:
    save(client, ours, row("21:00", "08:00"))
    for person in (ours.agent, ours.viewer):
        shown = sign_in(person).get(url("location", "change", ours.location.pk)).content.decode()
        assert "Every day, 21:00 to 08:00 the next day" in words(shown)
        assert "quiet_hours-0" not in shown
        assert save(sign_in(person), ours).status_code == 403
    assert len(stored(ours)) == 1


def test_a_new_location_can_have_them(operator: Any, ours: World) -> None:
    data = form(ours, row("21:00", "08:00")) | {"name": "New place"}
    assert sign_in(operator).post(url("location", "add"), data).status_code == 302
    assert Location.objects.get(name="New place").quiet_hours == [{"days": list(DAYS), "from": "21:00", "to": "08:00"}]


def test_the_api_shows_them(client: Client, ours: World) -> None:
    save(client, ours, row("21:00", "08:00", "mon"))
    program = APIClient(HTTP_AUTHORIZATION=f"Bearer {make_api_key(ours.location)[1]}")
    [place] = program.get("/api/v1/locations/").json()["results"]
    assert place["quiet_hours"] == [{"days": ["mon"], "from": "21:00", "to": "08:00"}]
