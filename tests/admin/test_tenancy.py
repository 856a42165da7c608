"""Locations, members, users and API keys in the admin: nobody reaches beyond their own."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from routing.models import ApiKey, Location, Membership, Role, User
from routing.services import api_key_digest
from tests.admin.world import World, operation, sign_in, url
from tests.factories import PASSWORD, make_location, make_member, make_user


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


# --- locations --------------------------------------------------------------------------------------------------------


def test_a_locations_admin_sets_its_policies(client: Client, ours: World) -> None:
    data = {
        "name": "Renamed",
        "region": "CA",
        "time_zone": "America/Toronto",
        "unavailable_tag_account": "fail",
        "unavailable_user_account": "next",
        "second_factor": "nobody",
        "manual_override_persists": "on",
        "default_account": "",
        "last_account_index": "0",
    }
    Location.objects.filter(pk=ours.location.pk).update(last_account_index=7)
    with CaptureQueriesContext(connection) as queries:
        assert client.post(url("location", "change", ours.location.pk), data).status_code == 302
    # An account may be opened at the same moment: its index must not be given twice.
    (written,) = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "routing_location"')]
    assert "last_account_index" not in written
    assert "default_account_id" not in written
    row = Location.objects.get(pk=ours.location.pk)
    assert (row.name, row.region, row.unavailable_tag_account, row.manual_override_persists) == (
        "Renamed",
        "CA",
        "fail",
        True,
    )
    assert row.last_account_index == 7
    assert row.default_account_id == ours.account.pk


@pytest.mark.parametrize(("field", "value"), [("region", "us"), ("region", "XX"), ("time_zone", "Mars/Base")])
def test_odd_regions_and_time_zones_are_refused(client: Client, ours: World, field: str, value: str) -> None:
    data = {
        "name": "N",
        "region": "US",
        "time_zone": "America/New_York",
        "unavailable_tag_account": "next",
        "unavailable_user_account": "next",
        "second_factor": "nobody",
    }
    assert client.post(url("location", "change", ours.location.pk), data | {field: value}).status_code == 200
    assert Location.objects.get(pk=ours.location.pk).name == "Clinic ours"


def test_operators_open_locations(operator: User) -> None:
    data = {
        "name": "New clinic",
        "region": "US",
        "time_zone": "America/New_York",
        "unavailable_tag_account": "next",
        "unavailable_user_account": "next",
        "second_factor": "nobody",
    }
    assert sign_in(operator).post(url("location", "add"), data).status_code == 302
    assert Location.objects.filter(name="New clinic").exists()


# --- members ----------------------------------------------------------------------------------------------------------


def test_a_locations_admin_changes_roles_and_ends_memberships(client: Client, ours: World, theirs: World) -> None:
    membership = ours.membership(ours.viewer)
    data = {"role": "agent", "can_set_default": "on", "crm_user_id": "crm-1", "user": theirs.agent.pk}
    data["location"] = theirs.location.pk
    assert client.post(url("membership", "change", membership.pk), data).status_code == 302
    membership.refresh_from_db()
    assert (membership.role, membership.can_set_default, membership.crm_user_id) == ("agent", True, "crm-1")
    assert (membership.user_id, membership.location_id) == (ours.viewer.pk, ours.location.pk)

    answer = client.get(url("membership", "delete", membership.pk))
    assert b"CANARY" not in answer.content
    assert client.post(url("membership", "delete", membership.pk), {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(pk=membership.pk).exists()
    assert User.objects.filter(pk=ours.viewer.pk, is_active=True).exists()


def test_a_crm_user_id_is_one_members(client: Client, ours: World, theirs: World) -> None:
    Membership.objects.filter(user=theirs.agent).update(crm_user_id="crm-9")
    Membership.objects.filter(user=ours.agent).update(crm_user_id="crm-1")
    door = url("membership", "change", ours.membership(ours.viewer).pk)
    assert b"Another member" in client.post(door, {"role": "viewer", "crm_user_id": "crm-1"}).content
    # What another tenant uses is free here, and nothing tells that it is used there.
    assert client.post(door, {"role": "viewer", "crm_user_id": "crm-9"}).status_code == 302


def test_people_are_added_from_locations_that_one_administers(ours: World, theirs: World) -> None:
    second = make_location("Second")
    colleague = make_member(second, username="colleague")
    viewed = make_location("Viewed")
    seen_there = make_member(viewed, username="only-seen")
    make_member(second, user=ours.admin, role=Role.ADMIN)
    make_member(viewed, user=ours.admin, role=Role.VIEWER)
    client = sign_in(ours.admin)
    page = client.get(url("membership", "add")).content.decode()
    assert "colleague" in page
    assert "only-seen" not in page
    assert "CANARY" not in page
    good = {"location": ours.location.pk, "user": colleague.pk, "role": "agent", "crm_user_id": ""}
    for forged in (
        {"user": theirs.agent.pk},
        {"user": seen_there.pk},
        {"location": viewed.pk},
        {"user": make_user().pk},
    ):
        assert b"errornote" in client.post(url("membership", "add"), good | forged).content
    assert client.post(url("membership", "add"), good).status_code == 302
    assert b"errornote" in client.post(url("membership", "add"), good).content
    assert Membership.objects.get(user=colleague, location=ours.location).role == "agent"


def test_an_operator_adds_anybody(operator: User, ours: World) -> None:
    stranger = make_user()
    data = {"location": ours.location.pk, "user": stranger.pk, "role": "viewer", "crm_user_id": ""}
    assert sign_in(operator).post(url("membership", "add"), data).status_code == 302
    assert Membership.objects.filter(user=stranger).exists()


# --- users ------------------------------------------------------------------------------------------------------------


def test_nobody_but_operators_touches_users(ours: World, operator: User) -> None:
    client = sign_in(ours.admin)
    for page in ("/admin/routing/user/", url("user", "add"), f"/admin/routing/user/{ours.agent.pk}/password/"):
        assert client.get(page).status_code in (302, 403), page
        assert client.post(page, {"is_superuser": "on", "password1": "x", "password2": "x"}).status_code in (302, 403)
    client.post(url("user", "change", ours.admin.pk), {"username": "u", "is_superuser": "on"})
    assert not User.objects.get(pk=ours.admin.pk).is_superuser
    assert sign_in(operator).get(f"/admin/routing/user/{ours.agent.pk}/password/").status_code == 200


def test_an_operator_makes_and_deactivates_users(operator: User) -> None:
    client = sign_in(operator)
    made = {"username": "newbie", "password1": "a long pass phrase", "password2": "a long pass phrase"}
    made |= {"usable_password": "true"}
    assert client.post(url("user", "add"), made).status_code == 302
    user = User.objects.get(username="newbie")
    data = {"username": "newbie", "is_staff": "on", "email": "n@example.com", "first_name": "", "last_name": ""}
    assert client.post(url("user", "change", user.pk), data).status_code == 302
    user.refresh_from_db()
    assert (user.is_active, user.is_staff, user.email) == (False, True, "n@example.com")
    assert user.check_password("a long pass phrase")
    assert client.post(url("user", "delete", user.pk), {"post": "yes"}).status_code == 403


# --- API keys ---------------------------------------------------------------------------------------------------------


def test_a_key_of_ones_location_is_made_and_revoked(client: Client, ours: World) -> None:
    past = timezone.now() - timedelta(days=1)
    expired = {"expires_at": f"{past:%Y-%m-%d}T00:00"}
    good = {"location": ours.location.pk, "name": "Tool"}
    assert b"Choose a time in the future." in client.post(url("apikey", "add"), good | expired).content
    answer = client.post(url("apikey", "add"), good)
    row = ApiKey.objects.get(name="Tool")
    assert row.digest == api_key_digest(answer.context["key"])
    assert row.location == ours.location
    door = operation("apikey", row.pk, "revoke")
    assert "cannot be undone" in client.get(door).content.decode()
    client.post(door)
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert ">revoked</span>" in client.get(url("apikey")).content.decode()


def test_a_key_to_everything_is_the_operators_affair(client: Client, ours: World, operator: User) -> None:
    assert sign_in(operator).post(url("apikey", "add"), {"location": "", "name": "Everything"}).status_code == 200
    row = ApiKey.objects.get(name="Everything")
    assert row.location is None
    assert b"Everything" not in client.get(url("apikey")).content
    assert client.get(url("apikey", "change", row.pk)).status_code == 302
    assert client.post(operation("apikey", row.pk, "revoke")).status_code == 404


# --- signing in -------------------------------------------------------------------------------------------------------


def test_only_active_staff_signs_in(ours: World) -> None:
    assert b'name="password"' in Client().get("/admin/login/").content
    told = set()
    for user, fields in (
        (make_user("inactive", is_active=False), {}),
        (make_user("no-staff", is_staff=False), {}),
        (ours.agent, {"password": "wrong"}),
        (None, {}),
    ):
        data = {"username": user.username if user else "nobody", "password": PASSWORD} | fields
        answer = Client().post("/admin/login/", data)
        assert answer.status_code == 200
        told.add(str(answer.context["form"].non_field_errors()))
    assert len(told) == 1  # the same words, whoever it is
    assert Client().post("/admin/login/", {"username": ours.agent.username, "password": PASSWORD}).status_code == 302
