"""The side bar: every model has its place, and everybody sees the places that are theirs."""

import re

import pytest
from django.contrib import admin
from django.test import Client

from imessage_hub.navigation import SECTIONS
from messaging import threads
from messaging.models import Thread
from routing.models import User
from tests.admin.world import World, sign_in, url
from tests.factories import make_user


def side_of(client: Client, page: str = "/admin/") -> dict[str, str]:
    """Label → address of what the side bar offers; the current one is marked with a star."""
    content = client.get(page).content.decode()
    side = content.split('aria-label="Main"')[1].split("</nav>")[0]
    links = re.findall(r'<a href="([^"]+)"( aria-current="page")?>.*?<span>([^<]+)</span>', side, re.DOTALL)
    return {label + ("*" if current else ""): address for address, current, label in links}


def test_every_model_has_a_place() -> None:
    placed = {place.model for _, places in SECTIONS for place in places}
    assert {model._meta.label_lower for model in admin.site._registry} <= placed


def test_every_place_opens(ours: World, operator: User) -> None:
    for user in (ours.admin, ours.agent, ours.viewer, operator):
        client = sign_in(user)
        offered = side_of(client)
        assert len(offered) > 5
        for label, address in offered.items():
            assert client.get(address).status_code == 200, (user, label)


def test_what_is_not_ones_own_is_not_offered(ours: World) -> None:
    assert "API keys" in side_of(sign_in(ours.admin))
    assert "Users" not in side_of(sign_in(ours.admin))
    assert "API keys" not in side_of(sign_in(ours.viewer))
    assert set(side_of(sign_in(make_user()))) == {"Home*"}


def test_it_shows_where_one_is(ours: World) -> None:
    client = sign_in(ours.admin)
    for page, label in (
        (url("contact"), "Contacts*"),
        (url("contact", "change", ours.contact.pk), "Contacts*"),
        (url("message"), "Messages*"),
    ):
        assert [name for name in side_of(client, page) if name.endswith("*")] == [label]


@pytest.mark.parametrize(("count", "told"), [(0, ""), (2, "2"), (150, "99+")])
def test_unread_conversations_are_counted(ours: World, theirs: World, count: int, told: str) -> None:
    from messaging.admin_counts import unread_count
    from tests.factories import make_contact, make_message

    for _ in range(count):
        contact = make_contact(ours.location)
        message = make_message(contact, account=ours.account, received=True)
        threads.note_message(message, at=message.created_at, unread=True)
    Thread.objects.filter(location=theirs.location).update(unread_count=3)
    assert unread_count(User.objects.get(pk=ours.viewer.pk)) == told
