"""Batches in the admin: how far each is, what was refused, and the end of what has not begun."""

import csv

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging.bulk import Recipient, send_bulk
from messaging.models import BatchRefusal, Message, MessageBatch
from messaging.services import NewMessage
from routing.models import AuditEntry
from tests.admin.world import World, make_batch, operation, sign_in, url
from tests.factories import new_phone


@pytest.fixture
def client(ours: World) -> Client:
    """The location's agent."""
    return sign_in(ours.agent)


def sent(world: World, count: int = 5, label: str = "Flu shots") -> MessageBatch:
    """A batch to so many new numbers, and a row that was refused."""
    recipients = [Recipient(to=new_phone()) for _ in range(count)] + [Recipient(to="12")]
    return send_bulk(
        location=world.location,
        frame=NewMessage(to="", text="secret words"),
        recipients=recipients,
        by=world.admin,
        now=timezone.now(),
        label=label,
    ).batch


def test_the_list_shows_how_far_each_is(client: Client, ours: World) -> None:
    batch = sent(ours)
    some = list(Message.objects.filter(batch=batch).values_list("pk", flat=True)[:2])
    Message.objects.filter(pk__in=some).update(dispatch_state="accepted")
    page = client.get(url("messagebatch")).content.decode()
    assert "Flu shots</a>" in page
    assert '<progress value="2" max="5" aria-hidden="true"></progress><span>2 of 5</span>' in page
    assert ours.admin.get_username() in page


def test_a_page_counts_by_status_and_leads_to_the_messages(client: Client, ours: World) -> None:
    batch = sent(ours)
    other = sent(ours, label="Other")
    some = list(Message.objects.filter(batch=batch).values_list("pk", flat=True)[:2])
    Message.objects.filter(pk__in=some).update(dispatch_state="accepted", delivered_at=timezone.now())
    page = client.get(url("messagebatch", "change", batch.pk)).content.decode()
    assert "2 of 5 messages are through." in page
    assert "data-moves" in page
    link = f"{url('message')}?batch__id__exact={batch.pk}&amp;status=delivered"
    assert link in page
    listed = client.get(link.replace("&amp;", "&"))
    assert {row.pk for row in listed.context["cl"].result_list} == set(some)
    one = Message.objects.filter(batch=other).latest("position")
    assert url("messagebatch", "change", other.pk) in client.get(url("message", "change", one.pk)).content.decode()


def test_the_moving_part_says_when_nothing_moves_any_more(client: Client, ours: World) -> None:
    batch = sent(ours)
    assert "data-moves" in client.get(url("messagebatch", "live", batch.pk)).content.decode()
    Message.objects.filter(batch=batch).update(dispatch_state="accepted")
    part = client.get(url("messagebatch", "live", batch.pk)).content.decode()
    assert "data-moves" not in part
    assert 'data-said="5 of 5 messages are through."' in part


def test_refused_rows_stand_there_with_their_reasons_and_in_a_file(client: Client, ours: World) -> None:
    batch = make_batch(ours.location, "Large", detail="=HYPERLINK(0)")
    BatchRefusal.objects.bulk_create(
        BatchRefusal(location=ours.location, batch=batch, index=n, code="c", detail=f"reason {n}") for n in range(1, 80)
    )
    MessageBatch.objects.filter(pk=batch.pk).update(recipient_count=80, refused_count=80)
    page = client.get(url("messagebatch", "change", batch.pk)).content.decode()
    assert "reason 49" in page
    assert "reason 50" not in page
    assert "And 30 more." in page
    answer = client.get(url("messagebatch", "refused", batch.pk))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    lines = list(csv.reader(answer.getvalue().decode().splitlines()))
    assert lines[0] == ["row", "code", "reason", "message"]
    # As rows are counted by people, and never a formula.
    assert lines[1] == ["1", "invalid_phone", "'=HYPERLINK(0)", ""]
    assert len(lines) == 81


def test_agents_cancel_the_rest_after_they_were_asked(client: Client, ours: World) -> None:
    batch = sent(ours)
    first = Message.objects.filter(batch=batch).earliest("position")
    Message.objects.filter(pk=first.pk).update(dispatch_state="accepted")
    door = operation("messagebatch", batch.pk, "cancel")
    assert door in client.get(url("messagebatch", "change", batch.pk)).content.decode()
    assert "cannot be undone" in client.get(door).content.decode()
    assert Message.objects.filter(batch=batch, status="cancelled").count() == 0
    answer = client.post(door, follow=True)
    assert "4 messages are not sent." in answer.content.decode()
    assert "The rest was cancelled" in answer.content.decode()
    assert Message.objects.filter(batch=batch, status="cancelled").count() == 4
    entry = AuditEntry.objects.filter(object_id=str(batch.pk), action="changed").get()
    assert (entry.user, entry.detail) == (ours.agent, "The rest was cancelled: 4 messages are not sent.")
    # Nothing waits: nothing is offered.
    assert door not in client.get(url("messagebatch", "change", batch.pk)).content.decode()


def test_viewers_see_and_do_not_cancel(ours: World) -> None:
    batch, client = sent(ours), sign_in(ours.viewer)
    door = operation("messagebatch", batch.pk, "cancel")
    assert door not in client.get(url("messagebatch", "change", batch.pk)).content.decode()
    assert client.post(door).status_code == 403
    assert not Message.objects.filter(batch=batch, status="cancelled").exists()


def test_other_tenants_batches_are_not_there(client: Client, ours: World, theirs: World) -> None:
    for page in ("live", "refused"):
        assert client.get(url("messagebatch", page, theirs.batch.pk)).status_code == 404
    assert client.post(operation("messagebatch", theirs.batch.pk, "cancel")).status_code == 404
    assert "CANARY" not in client.get(url("messagebatch")).content.decode()
    # Nor does the filter of the messages name them.
    sent(ours)
    page = client.get(url("message")).content.decode()
    assert "Flu shots" in page
    assert "CANARY" not in page


def test_a_page_costs_the_same_for_a_large_batch(client: Client, ours: World) -> None:
    def cost(batch: MessageBatch) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(url("messagebatch", "change", batch.pk)).status_code == 200
            assert client.get(url("messagebatch")).status_code == 200
        return len(asked)

    small, large = sent(ours, 2), sent(ours, 400)
    cost(small)
    assert cost(large) == cost(small)
