"""Invitations: a link that lets one person in, and that tells nothing when it does not."""

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth import get_user
from django.test import Client
from django.utils import timezone

from routing import invitations
from routing.errors import Refused
from routing.models import AuditEntry, Invitation, Membership, Role, User
from tests.admin.world import World, operation, sign_in, url
from tests.factories import PASSWORD, make_member, make_user

PASSPHRASE = "a long pass phrase"
NEW = {
    "username": "robin",
    "first_name": "Robin",
    "last_name": "Kim",
    "email": "",
    "password1": PASSPHRASE,
    "password2": PASSPHRASE,
}


@pytest.fixture
def link(ours: World) -> str:
    """The path of a fresh invitation as agent who may mark the default."""
    _, token = invitations.create_invitation(
        location=ours.location, name="Robin", role=Role.AGENT, can_set_default=True, by=ours.admin
    )
    return f"/join/{token}/"


def opened(link: str, client: Client | None = None) -> Client:
    """A browser in which the link was opened."""
    client = client or Client()
    answer = client.get(link)
    assert (answer.status_code, answer["Location"]) == (302, "/join/")
    return client


def test_an_admin_invites_and_sees_the_link_once(ours: World) -> None:
    client = sign_in(ours.admin)
    page = client.get(url("invitation", "add"))
    data: dict[str, Any] = {"location": ours.location.pk, "name": "Robin", "role": "agent", "valid_days": "7"}
    data["form_id"] = page.context["adminform"].form["form_id"].value()
    answer = client.post(url("invitation", "add"), data)
    shown = answer.context["link"]
    row = Invitation.objects.get(name="Robin")
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/join/[\w-]{43}/", shown)
    assert f'data-copy="{shown}"' in answer.content.decode()
    token = shown.split("/")[-2]
    assert row.token_digest == invitations.token_digest(token)
    assert timedelta(days=6.9) < row.expires_at - timezone.now() <= timedelta(days=7)
    again = client.post(url("invitation", "add"), data, follow=True)
    assert b"was sent before" in again.content
    assert Invitation.objects.filter(name="Robin").count() == 1
    for where in (url("invitation"), url("invitation", "change", row.pk), url("invitation", "history", row.pk)):
        content = client.get(where).content
        assert token.encode() not in content
        assert row.token_digest.encode() not in content
    entry = AuditEntry.objects.get()
    assert token not in f"{entry.object_name}{entry.detail}{entry.changes}"


def test_somebody_new_chooses_a_name_and_a_password_and_is_in(ours: World, link: str) -> None:
    client = opened(link)
    page = client.get("/join/").content.decode()
    assert "Join Clinic ours" in page
    assert "agent" in page
    answer = client.post("/join/", NEW, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    assert b"Welcome to Clinic ours" in answer.content
    user = User.objects.get(username="robin")
    assert get_user(client) == user
    assert (user.is_staff, user.is_superuser, user.check_password(PASSPHRASE)) == (True, False, True)
    membership = Membership.objects.get(user=user)
    assert (membership.role, membership.can_set_default, membership.location) == ("agent", True, ours.location)
    listed = sign_in(ours.admin).get(url("invitation")).content.decode()
    assert "accepted by robin" in listed
    assert {entry.user for entry in AuditEntry.objects.filter(location=ours.location)} == {user}
    assert Client().post("/admin/login/", {"username": "robin", "password": PASSPHRASE}).status_code == 302


def test_looking_at_a_link_uses_nothing_up(ours: World, link: str) -> None:
    for _ in range(3):
        opened(link)
        assert Client().head(link).status_code == 302
    assert opened(link).post("/join/", NEW).status_code == 302


def test_every_link_that_does_not_work_is_answered_alike(ours: World, link: str) -> None:
    now = timezone.now()
    links = {}
    for word, columns in {
        "withdrawn": {"withdrawn_at": now},
        "expired": {"expires_at": now},
        "used": {"accepted_at": now},
    }.items():
        row, token = invitations.create_invitation(location=ours.location, name=word, role=Role.ADMIN, by=ours.admin)
        Invitation.objects.filter(pk=row.pk).update(**columns)
        links[word] = f"/join/{token}/"
    links |= {"unknown": "/join/unknown/", "odd": "/join/%00%C3%A9/", "none": "/join/"}
    answers = {word: Client().get(path) for word, path in links.items()}
    assert {answer.status_code for answer in answers.values()} == {404}
    assert len({answer.content for answer in answers.values()}) == 1
    assert b"ours" not in answers["used"].content
    kept = {
        frozenset((name, value) for name, value in a.headers.items() if name != "X-Request-Id")
        for a in answers.values()
    }
    assert len({frozenset(pair for pair in one if pair[0] != "Expires") for one in kept}) == 1


@pytest.mark.parametrize("change", ["withdrawn_at", "accepted_at", "expires_at"])
def test_a_link_that_ends_while_the_page_is_open_lets_nobody_in(ours: World, link: str, change: str) -> None:
    client = opened(link)
    Invitation.objects.filter(location=ours.location).update(**{change: timezone.now()})
    answer = client.post("/join/", NEW)
    assert answer.status_code == 404
    assert answer.content == Client().get("/join/unknown/").content
    assert not User.objects.filter(username="robin").exists()


def test_a_link_expires_by_itself(link: str) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=7, seconds=1)):
        assert Client().get(link).status_code == 404


def test_the_page_is_kept_nowhere_and_tells_nobody(link: str) -> None:
    client = Client()
    door, page, closed = client.get(link), client.get("/join/"), Client().get("/join/unknown/")
    for answer in (door, page, closed):
        assert "no-store" in answer["Cache-Control"]
        # The page's address holds no token; without a referrer browsers would send its form without an origin.
        assert answer["Referrer-Policy"] == ("same-origin" if answer is page else "no-referrer")
        assert "default-src 'self'" in answer["Content-Security-Policy"]
    content = client.get("/join/").content.decode()
    assert link.split("/")[2] not in content
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", content)


def test_the_token_is_in_no_log(link: str, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        client = opened(link)
        client.post("/join/", NEW)
        client.get(link)
        client.post(link)
        Client(enforce_csrf_checks=True).post(link)
        client.get(f"{link}x/")
    token = link.split("/")[2]
    assert token not in caplog.text
    assert token not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"username": "agent-ours"}, "Choose another user name."),
        ({"username": "AGENT-ours"}, "Choose another user name."),
        ({"password2": "something else"}, "password fields"),
        ({"password1": "password", "password2": "password"}, "too common"),
        ({"password1": "12345678", "password2": "12345678"}, "numeric"),
        ({"username": ""}, "required"),
    ],
)
def test_a_name_or_password_that_will_not_do_is_refused(link: str, wrong: dict[str, str], words: str) -> None:
    client = opened(link)
    before = User.objects.count()
    answer = client.post("/join/", NEW | wrong)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert PASSPHRASE.encode() not in answer.content
    assert User.objects.count() == before
    assert client.post("/join/", NEW).status_code == 302


def test_who_is_signed_in_joins_by_one_click(ours: World, theirs: World, link: str) -> None:
    client = opened(link, sign_in(theirs.viewer))
    page = client.get("/join/").content.decode()
    assert f"Join as {theirs.viewer.username}" in page
    assert 'name="password1"' not in page
    assert client.post("/join/").status_code == 302
    membership = Membership.objects.get(location=ours.location, user=theirs.viewer)
    assert (membership.role, membership.can_set_default) == ("agent", True)
    assert client.post("/join/").status_code == 404
    assert client.get(link).status_code == 404


def test_who_has_an_account_signs_in_first(ours: World, theirs: World, link: str) -> None:
    client = opened(link)
    assert b'href="/admin/login/?next=/join/"' in client.get("/join/").content
    data = {"username": theirs.agent.username, "password": PASSWORD, "next": "/join/"}
    assert client.post("/admin/login/?next=/join/", data)["Location"] == "/join/"
    assert client.post("/join/").status_code == 302
    assert Membership.objects.filter(location=ours.location, user=theirs.agent).exists()


@pytest.mark.parametrize(("role", "after"), [("viewer", "agent"), ("agent", "agent"), ("admin", "admin")])
def test_a_member_keeps_the_higher_role(ours: World, link: str, role: str, after: str) -> None:
    user = getattr(ours, role)
    opened(link, sign_in(user)).post("/join/")
    membership = ours.membership(user)
    assert (membership.role, membership.can_set_default) == (after, True)


def test_an_invitation_is_withdrawn(ours: World, link: str) -> None:
    row = Invitation.objects.get(name="Robin")
    client = sign_in(ours.admin)
    door = operation("invitation", row.pk, "withdraw")
    assert b"lets nobody in" in client.get(door).content
    client.post(door)
    assert Client().get(link).status_code == 404
    assert b"withdrawn" in client.get(url("invitation", "change", row.pk)).content
    assert client.post(door, follow=True).status_code == 200  # again: nothing
    with pytest.raises(Refused):
        invitations.withdraw_invitation(invitation=row, now=timezone.now())


def test_the_list_is_filtered_by_state(ours: World) -> None:
    now = timezone.now()
    for word in ("accepted_at", "withdrawn_at", "expires_at"):
        row, _ = invitations.create_invitation(location=ours.location, name=f"G {word}", role=Role.AGENT, by=ours.admin)
        Invitation.objects.filter(pk=row.pk).update(**{word: now})
    client = sign_in(ours.admin)
    for state, name in {"accepted": "G accepted_at", "withdrawn": "G withdrawn_at", "expired": "G expires_at"}.items():
        found = [row.name for row in client.get(url("invitation"), {"state": state}).context["cl"].result_list]
        assert found == [name]
    found = [row.name for row in client.get(url("invitation"), {"state": "open"}).context["cl"].result_list]
    assert found == ["Guest ours"]


def test_nobody_invites_into_another_location(ours: World, theirs: World) -> None:
    data = {"location": theirs.location.pk, "name": "Robin", "role": "admin", "valid_days": "7"}
    assert b"errornote" in sign_in(ours.admin).post(url("invitation", "add"), data).content
    assert sign_in(ours.agent).post(url("invitation", "add"), data).status_code == 403
    assert not Invitation.objects.filter(name="Robin").exists()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_many_who_accept_at_once_one_is_in(ours: World, link: str, in_threads: Any) -> None:
    known = [opened(link, sign_in(make_user())) for _ in range(4)]
    new = [opened(link) for _ in range(4)]
    before = User.objects.count()

    def accept(i: int) -> int:
        client = [*known, *new][i]
        body = {} if i < 4 else NEW | {"username": f"robin{i}"}
        status: int = client.post("/join/", body).status_code
        return status

    assert sorted(in_threads(8, accept)) == [302, *[404] * 7]
    assert Membership.objects.filter(location=ours.location).count() == 4
    assert User.objects.count() - before in (0, 1)  # nobody is left over who did not come in
    assert Invitation.objects.get(name="Robin").accepted_by is not None


@pytest.mark.parametrize("change", [{"is_active": False}, {"role": Role.AGENT}])
def test_who_may_invite_no_more_lets_nobody_in(ours: World, change: dict[str, Any]) -> None:
    """Whichever way they lost the right."""
    boss = make_member(ours.location, Role.ADMIN)
    _, token = invitations.create_invitation(location=ours.location, name="x", role=Role.ADMIN, by=boss)
    visitor = opened(f"/join/{token}/")
    if "role" in change:
        Membership.objects.filter(user=boss).update(**change)
    else:
        User.objects.filter(pk=boss.pk).update(**change)
    assert visitor.post("/join/", NEW).status_code == 404
    assert not User.objects.filter(username="robin").exists()
    assert Client().get(f"/join/{token}/").status_code == 404
