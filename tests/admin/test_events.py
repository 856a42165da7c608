"""Provider events in the admin: as they came, and what became of them."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from provisioning.models import EventOutcome
from tests.admin.world import World, make_event, sign_in, url


@pytest.fixture
def client(ours: World) -> Client:
    """A viewer of the location."""
    return sign_in(ours.viewer)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"b":{"a":"\xc3\xa9"}}', '{\n  "b": {\n    "a": "é"\n  }\n}'),
        (b"not json <b>", "not json <b>"),
        (b"\xff\x00\xfe", "�\x00�"),
        (b"", ""),
        (b"[" * 100_000, "[" * 65536 + "\n… (100,000 characters in all)"),
    ],
)
def test_the_body_is_shown_for_people(client: Client, ours: World, body: bytes, shown: str) -> None:
    event = make_event(ours.setup, body=body)
    page = client.get(url("providerevent", "change", event.pk))
    assert page.status_code == 200
    match = re.search(r'<pre class="hub-body"[^>]*>(.*?)</pre>', page.content.decode(), re.DOTALL)
    assert match
    assert unescape(match[1]) == unescape(shown)


def test_the_list_says_what_became_of_each(client: Client, ours: World) -> None:
    make_event(ours.setup, type="odd_type", outcome=EventOutcome.CONFLICT, detail="Two numbers")
    page = client.get(url("providerevent")).content.decode()
    assert "odd_type" in page
    assert ">conflict: contradicts what we know</span>" in page
    assert "odd_type" not in client.get(url("providerevent"), {"outcome__exact": "applied"}).content.decode()
    assert "odd_type" in client.get(url("providerevent"), {"setup__id__exact": str(ours.setup.pk)}).content.decode()


def test_the_list_goes_on_with_older_ones(client: Client, ours: World) -> None:
    """Also where many came in the same instant, and no event twice."""
    instant = timezone.now() - timedelta(hours=1)
    for number in range(109):
        make_event(ours.setup, type=f"type_{number:03}", received_at=instant - timedelta(seconds=number // 40))
    seen: list[str] = []
    address = url("providerevent")
    while address:
        content = client.get(address).content.decode()
        seen += re.findall(r"type_\d{3}", content.split('id="result_list"')[1])
        older = re.search(r'href="(\?before=[^"]+)" rel="next"', content)
        address = url("providerevent") + unescape(older[1]) if older else ""
    assert len(seen) == 109
    assert len(set(seen)) == 109
