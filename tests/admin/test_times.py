"""Times are told on the clocks of the location they belong to."""

from datetime import UTC, datetime

import pytest
from django.utils import timezone

from messaging.models import Message
from routing.admin_look import moment
from routing.models import ApiKey, Location, Role, User
from tests.admin.world import World, sign_in, url
from tests.factories import make_member

# Half past eight in the evening in Los Angeles, the day before.
AT = datetime(2026, 3, 2, 4, 30, 15, tzinfo=UTC)


@pytest.fixture
def west(ours: World) -> World:
    """Our location keeps Californian time."""
    Location.objects.filter(pk=ours.location.pk).update(time_zone="America/Los_Angeles")
    Message.objects.filter(pk=ours.message.pk).update(created_at=AT)
    return ours


def test_a_member_reads_the_locations_time(west: World) -> None:
    shown = sign_in(west.agent).get(url("message")).content.decode()
    assert "Mar 1, 8:30 PM" in shown
    assert "Sunday, March 1, 2026, 8:30:15 PM PST" in shown
    assert AT.isoformat() in shown


def test_a_row_keeps_its_own_zone_beside_others(west: World, theirs: World) -> None:
    """Who works in two zones, and who sees all, reads each row on its location's clocks."""
    make_member(theirs.location, Role.ADMIN, user=west.admin)
    Message.objects.filter(pk=theirs.message.pk).update(created_at=AT)
    shown = sign_in(User.objects.get(pk=west.admin.pk)).get(url("message")).content.decode()
    assert "Mar 1, 8:30 PM" in shown
    assert "Mar 1, 11:30 PM" in shown


def test_what_is_typed_is_read_on_the_same_clocks(west: World) -> None:
    data = {"location": west.location.pk, "name": "Till summer", "expires_at": "2099-07-01T09:00"}
    sign_in(west.admin).post(url("apikey", "add"), data)
    assert ApiKey.objects.get(name="Till summer").expires_at == datetime(2099, 7, 1, 16, 0, tzinfo=UTC)


def test_the_zone_ends_with_the_request(west: World) -> None:
    sign_in(west.admin).get(url("message"))
    assert timezone.get_current_timezone_name() == "UTC"


def test_both_sides_of_a_change_of_clocks() -> None:
    place = Location(time_zone="America/New_York")
    before = moment(datetime(2026, 11, 1, 5, 30, tzinfo=UTC), place)
    after = moment(datetime(2026, 11, 1, 6, 30, tzinfo=UTC), place)
    assert "1:30:00 AM EDT" in before
    assert "1:30:00 AM EST" in after
