"""The team of a location: roles in words, the last admin, access that ends at once, keys that are made once."""

from typing import Any

import pytest
from django.test import Client

from routing import invitations
from routing.models import ApiKey, AuditEntry, Invitation, Membership, Role, User
from tests.admin.world import World, sign_in, url
from tests.factories import make_location, make_member


@pytest.fixture
def client(ours: World) -> Client:
    """The location's admin."""
    return sign_in(ours.admin)


def form(role: str) -> dict[str, str]:
    return {"role": role, "crm_user_id": ""}


def test_the_list_says_who_what_and_since_when(client: Client, ours: World) -> None:
    content = client.get(url("membership")).content.decode()
    for word in (
        ">admin</span>",
        ">agent</span>",
        ">viewer</span>",
        "First ours Last",
        "never",
        "What each role may do",
    ):
        assert word in content
    User.objects.filter(pk=ours.agent.pk).update(is_active=False)
    assert ">deactivated</span>" in client.get(url("membership")).content.decode()


def test_each_role_is_explained_where_it_is_given(client: Client, ours: World) -> None:
    for page in (url("membership", "change", ours.membership(ours.agent).pk), url("invitation", "add")):
        content = client.get(page).content.decode()
        assert "reads and converses; marks the default number where that is granted" in content
        assert "reads everything, writes nothing" in content


def test_the_last_admin_is_neither_demoted_nor_removed_by_an_admin(client: Client, ours: World) -> None:
    door = ours.membership(ours.admin).pk
    answer = client.post(url("membership", "change", door), form("viewer"))
    assert b"Make somebody else an admin first." in answer.content
    answer = client.post(url("membership", "delete", door), {"post": "yes"}, follow=True)
    assert b"Make somebody else an admin first." in answer.content
    assert ours.membership(ours.admin).role == "admin"
    assert not AuditEntry.objects.exists()
    # Other fields of the last admin may be changed.
    assert client.post(url("membership", "change", door), form("admin") | {"crm_user_id": "7"}).status_code == 302


def test_a_deactivated_admin_does_not_count(client: Client, ours: World) -> None:
    second = make_member(ours.location, Role.ADMIN)
    User.objects.filter(pk=second.pk).update(is_active=False)
    door = url("membership", "change", ours.membership(ours.admin).pk)
    assert b"errornote" in client.post(door, form("agent")).content
    User.objects.filter(pk=second.pk).update(is_active=True)
    assert client.post(door, form("agent")).status_code == 302


def test_an_operator_may_remove_the_last_admin(ours: World, operator: User) -> None:
    door = url("membership", "delete", ours.membership(ours.admin).pk)
    assert sign_in(operator).post(door, {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(user=ours.admin).exists()


def test_who_is_removed_sees_nothing_with_their_next_click(client: Client, ours: World) -> None:
    theirs = sign_in(ours.agent)
    assert theirs.get(url("contact")).status_code == 200
    client.post(url("membership", "delete", ours.membership(ours.agent).pk), {"post": "yes"})
    assert theirs.get(url("contact")).status_code == 403
    assert theirs.get("/api/v1/contacts/").json().get("results", []) == []
    assert b"ours" not in theirs.get("/admin/").content.replace(ours.agent.username.encode(), b"").replace(
        ours.agent.get_full_name().encode(), b""
    )


def test_a_new_role_holds_with_the_next_click(client: Client, ours: World) -> None:
    theirs = sign_in(ours.agent)
    door = url("contact", "change", ours.contact.pk)
    assert b'name="_save"' in theirs.get(door).content
    client.post(url("membership", "change", ours.membership(ours.agent).pk), form("viewer"))
    assert b'name="_save"' not in theirs.get(door).content


@pytest.mark.parametrize("how", ["demoted", "removed"])
def test_an_admin_who_goes_leaves_no_link_to_come_back_by(client: Client, ours: World, how: str) -> None:
    second = make_member(ours.location, Role.ADMIN)
    elsewhere = make_location()
    made: dict[str, Any] = {"name": "Me again", "role": Role.ADMIN, "by": second}
    kept, _ = invitations.create_invitation(location=ours.location, **made)
    other, _ = invitations.create_invitation(location=elsewhere, **made)
    door = ours.membership(second).pk
    if how == "demoted":
        client.post(url("membership", "change", door), form("agent"))
    else:
        client.post(url("membership", "delete", door), {"post": "yes"})
    assert Invitation.objects.get(pk=kept.pk).withdrawn_at is not None
    assert Invitation.objects.get(pk=other.pk).withdrawn_at is None
    assert Invitation.objects.get(pk=ours.invitation.pk).withdrawn_at is None


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_leave_one(ours: World, in_threads: Any) -> None:
    for _ in range(5):
        Membership.objects.filter(location=ours.location).update(role=Role.VIEWER)
        pair = [ours.membership(ours.admin), ours.membership(ours.agent)]
        Membership.objects.filter(pk__in=[one.pk for one in pair]).update(role=Role.ADMIN)
        clients = [sign_in(User.objects.get(pk=one.user_id)) for one in pair]

        def demote(i: int, pair: Any = pair, clients: Any = clients) -> int:
            status: int = clients[i].post(url("membership", "change", pair[1 - i].pk), form("viewer")).status_code
            return status

        assert all(status in (200, 302, 403) for status in in_threads(2, demote))
        assert Membership.objects.filter(location=ours.location, role=Role.ADMIN).count() == 1


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_reload_of_the_page_with_the_key_makes_no_second_key(client: Client, ours: World) -> None:
    page = client.get(url("apikey", "add"))
    data = {"location": ours.location.pk, "name": "Tool", "form_id": page.context["adminform"].form["form_id"].value()}
    first = client.post(url("apikey", "add"), data)
    key = first.context["key"]
    assert f'data-copy="{key}"' in first.content.decode()
    second = client.post(url("apikey", "add"), data, follow=True)
    assert b"was sent before" in second.content
    assert key.encode() not in second.content
    row = ApiKey.objects.get(name="Tool")
    assert second.redirect_chain[0][0] == url("apikey", "change", row.pk)
    assert row.created_by == ours.admin
    assert ours.admin.username.encode() in client.get(url("apikey")).content


def test_a_form_id_that_we_did_not_give_is_refused(client: Client, ours: World, theirs: World) -> None:
    data = {"location": ours.location.pk, "name": "Tool", "form_id": str(theirs.api_key.pk)}
    assert b"Open this page again." in client.post(url("apikey", "add"), data).content
    assert not ApiKey.objects.filter(name="Tool").exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_form_sent_twice_at_once_makes_one_key(ours: World, in_threads: Any) -> None:
    page = sign_in(ours.admin).get(url("apikey", "add"))
    data = {"location": ours.location.pk, "name": "Tool", "form_id": page.context["adminform"].form["form_id"].value()}
    clients = [sign_in(ours.admin) for _ in range(8)]
    statuses = in_threads(8, lambda i: clients[i].post(url("apikey", "add"), data).status_code)
    assert sorted(statuses) == [200, *[302] * 7]
    assert ApiKey.objects.filter(name="Tool").count() == 1
