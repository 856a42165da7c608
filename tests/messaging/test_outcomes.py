"""What each thing that can happen at the provider means for the message: never lost, never sent twice."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings

from messaging.delivery.worker import work_once
from messaging.models import DispatchState, Message
from provisioning.models import PhoneLine, Setup
from provisioning.sandbox.faults import magic_number
from provisioning.services import read_lines
from routing.models import Account, Contact
from routing.selection import Blocker
from tests.messaging.conftest import Hub

GOOD = "+12125550100"


def times_sent(hub: Hub, number: str) -> int:
    """How often the provider took a message to the number on."""
    return len([one for one in hub.sandbox.ledger() if one.number == number])


def tried_times(message: Message, count: int) -> Callable[[], bool]:
    """Whether there were so many attempts at the message."""
    return lambda: message.attempts.count() == count


def not_sent_times(message: Message, count: int) -> Callable[[], bool]:
    """Whether so many attempts at the message ended without sending it."""
    return lambda: message.attempts.filter(outcome="not_sent").count() == count


@pytest.mark.parametrize("fault", ["duplicated", "reordered", "early", "read", "other_from", None])
def test_what_is_taken_on_is_delivered_once(hub: Hub, fault: str | None) -> None:
    number = magic_number(fault) if fault else GOOD
    message = hub.work_until_status(hub.send(number), "read" if fault == "read" else "delivered")
    hub.sandbox.drain_webhooks()
    assert times_sent(hub, number) == 1
    assert message.dispatch_state == DispatchState.ACCEPTED
    assert message.provider_id == hub.sandbox.ledger()[-1].handle
    assert not message.conflict


@pytest.mark.parametrize(
    "fault",
    ["timeout_sent", "reset_after", "closed_after", "drip", "error_500_after", "garbage", "truncated", "oversize",
     "no_handle"],
)  # fmt: skip
def test_a_lost_answer_is_proven_by_the_attempts_own_callback(hub: Hub, fault: str) -> None:
    number = magic_number(fault)
    message = hub.work_until_status(hub.send(number), "delivered")
    assert times_sent(hub, number) == 1
    assert message.provider_id == hub.sandbox.ledger()[-1].handle
    assert message.attempts.count() == 1


@pytest.mark.parametrize("fault", ["timeout_not_sent", "reset_before", "error_500_before", "unavailable_503"])
def test_a_lost_answer_to_a_message_that_never_arrived_is_uncertain_and_not_sent_again(hub: Hub, fault: str) -> None:
    number = magic_number(fault)
    message = hub.work_until_status(hub.send(number), "uncertain")
    Message.objects.filter(pk=message.pk).update(lookup_at=message.created_at)
    hub.work_until(lambda: hub.sandbox.requests()["GET /api/v2/messages"])
    assert hub.status(message) == "uncertain"
    assert times_sent(hub, number) == 0
    assert hub.sandbox.requests()["POST /api/send-message"] == 1
    attempt = message.attempts.get()
    assert attempt.outcome == "uncertain"
    assert attempt.code


def test_without_callbacks_the_look_up_finds_the_message(hub: Hub) -> None:
    number = GOOD
    hub.sandbox.faults.next_sends("silent")
    lost = hub.send(number, "only a look-up tells")
    hub.work_until_status(lost, "accepted")
    # As it would be, had the answer been lost.
    Message.objects.filter(pk=lost.pk).update(
        dispatch_state=DispatchState.UNCERTAIN, provider_id="", uncertain_at=lost.created_at, lookup_at=lost.created_at
    )
    found = hub.work_until_status(lost, "accepted")
    assert found.provider_id == hub.sandbox.ledger()[-1].handle
    assert times_sent(hub, number) == 1


def test_of_two_equal_uncertain_texts_one_look_up_hit_proves_neither(hub: Hub) -> None:
    hub.sandbox.faults.next_sends("silent")
    first = hub.send(GOOD, "ok")
    hub.work_until_status(first, "accepted")
    second = hub.send(GOOD, "ok")
    uncertain = {
        "dispatch_state": DispatchState.UNCERTAIN,
        "provider_id": "",
        "uncertain_at": first.created_at,
        "lookup_at": first.created_at,
        "due_at": None,
    }
    Message.objects.filter(pk__in=[first.pk, second.pk]).update(**uncertain)
    before = hub.sandbox.requests()["GET /api/v2/messages"]
    hub.work_until(lambda: hub.sandbox.requests()["GET /api/v2/messages"] >= before + 2)
    assert {hub.status(first), hub.status(second)} == {"uncertain"}


def test_a_message_for_a_number_that_the_provider_refuses_fails_with_its_words(hub: Hub) -> None:
    message = hub.work_until_status(hub.send(magic_number("invalid_number")), "failed")
    assert message.dispatch_state == DispatchState.REJECTED
    assert message.code
    assert message.detail
    assert times_sent(hub, message.contact.phone_number) == 0


@pytest.mark.parametrize(("fault", "code"), [("undelivered", "10001"), ("declined", "")])
def test_a_failure_after_acceptance_is_told(hub: Hub, fault: str, code: str) -> None:
    message = hub.work_until_status(hub.send(magic_number(fault)), "failed")
    assert message.dispatch_state == DispatchState.ACCEPTED
    assert code in message.failed_code


def test_a_fate_that_the_provider_does_not_know_changes_nothing(hub: Hub) -> None:
    message = hub.work_until_status(hub.send(magic_number("unresolved")), "sent")
    hub.sandbox.drain_webhooks()
    work_once()
    assert hub.status(message) == "sent"


def test_facts_that_contradict_each_other_are_shown_as_a_conflict(hub: Hub) -> None:
    message = hub.send(magic_number("delivered_then_failed"))
    hub.work_until(lambda: Message.objects.get(pk=message.pk).conflict)
    assert hub.status(message) == "delivered"


def test_sent_is_the_last_state_of_a_message_that_went_as_sms(hub: Hub) -> None:
    message = hub.work_until_status(hub.send(magic_number("sms")), "sent")
    hub.sandbox.drain_webhooks()
    work_once()
    message.refresh_from_db()
    assert (message.status, message.service) == ("sent", "SMS")


def test_another_number_than_asked_for_is_told(hub: Hub) -> None:
    message = hub.work_until_status(hub.send(magic_number("other_from")), "delivered")
    assert message.code == "other_number_used"


@pytest.mark.parametrize("fault", ["rate_limited", "rate_limited_bare"])
def test_a_rate_limit_puts_the_message_back_for_later(hub: Hub, fault: str) -> None:
    message = hub.send(magic_number(fault))
    due_before = message.due_at
    hub.work_until(lambda: message.attempts.filter(outcome="not_sent").exists())
    message.refresh_from_db()
    assert message.status == "queued"
    assert message.due_at is not None
    assert due_before is not None
    assert message.due_at > due_before
    assert times_sent(hub, message.contact.phone_number) == 0


def test_a_message_that_was_held_back_twice_is_sent_once(hub: Hub) -> None:
    number = magic_number("rate_limited_twice")
    message = hub.send(number)
    for tries in (1, 2):
        hub.work_until(not_sent_times(message, tries))
        Message.objects.filter(pk=message.pk).update(due_at=message.created_at)
    hub.work_until_status(message, "delivered")
    assert times_sent(hub, number) == 1


def test_rejected_credentials_stop_every_account_of_the_setup_and_keep_the_message(hub: Hub) -> None:
    message = hub.send(magic_number("unauthorized"))
    account = message.account
    assert account is not None
    hub.work_until(lambda: not Account.objects.get(pk=account.pk).can_send)
    message.refresh_from_db()
    assert message.status == "queued"
    assert message.attempt_count == 0
    assert Account.objects.get(pk=account.pk).blockers == (Blocker.CREDENTIALS_REJECTED,)
    assert Setup.objects.get(phone_lines__account=account).credentials_rejected_at is not None


@pytest.mark.parametrize("serves_others", [True, False])
def test_a_message_is_at_fault_only_if_its_account_serves_others_meanwhile(hub: Hub, serves_others: bool) -> None:
    message = hub.send(magic_number("unauthorized"))
    account = message.sender
    for tries in (1, 2, 3):
        hub.work_until(tried_times(message, tries))
        if tries < 3:
            assert not Account.objects.get(pk=account.pk).can_send
            read_lines(setup=account.phone_line.setup)
            if serves_others:
                hub.work_until_status(hub.send(GOOD, "{IM#1} hello"), "delivered")
            Message.objects.filter(pk=message.pk).update(due_at=message.created_at, account=account)
    hub.work_until(lambda: not message.attempts.filter(ended_at=None).exists())
    message.refresh_from_db()
    assert message.status == ("failed" if serves_others else "queued")
    assert Account.objects.get(pk=account.pk).can_send is serves_others
    assert times_sent(hub, message.contact_number) == 0


def test_a_blocked_line_stops_its_account_and_the_next_message_leaves_elsewhere(hub: Hub) -> None:
    first, second = hub.accounts
    message = hub.send(magic_number("line_blocked"))
    assert message.account == first
    hub.work_until(lambda: Account.objects.get(pk=first.pk).line_blocked)
    assert PhoneLine.objects.get(account=first).health == "blocked"
    answer = hub.post(GOOD)
    assert answer.json()["account"]["index"] == second.index


def test_a_waiting_message_moves_to_another_account_when_its_own_stops(hub: Hub) -> None:
    first, second = hub.accounts
    message = hub.send(GOOD)
    assert message.account == first
    Account.objects.filter(pk=first.pk).update(connected=False)
    sent = hub.work_until_status(message, "delivered")
    assert sent.account == second
    assert sent.trace is not None
    assert sent.trace["account"]["index"] == second.index
    assert hub.sandbox.ledger()[-1].from_number == second.phone_number
    assert sent.events.filter(kind="rerouted").count() == 1


def test_a_waiting_message_with_an_override_fails_when_its_account_stops(hub: Hub) -> None:
    message = hub.send(GOOD, "hello {IM#2}")
    Account.objects.filter(pk=hub.accounts[1].pk).update(connected=False)
    failed = hub.work_until_status(message, "failed")
    assert failed.code == "override_account_not_connected"
    assert hub.sandbox.ledger() == []


def test_a_waiting_message_stays_when_nobody_can_send_and_leaves_when_somebody_can(hub: Hub) -> None:
    message = hub.send(GOOD)
    Account.objects.filter(location=hub.location).update(connected=False)
    hub.work_until(lambda: Message.objects.get(pk=message.pk).code == "no_connected_account")
    assert hub.status(message) == "queued"
    Account.objects.filter(location=hub.location).update(connected=True)
    Message.objects.filter(pk=message.pk).update(due_at=message.created_at)
    hub.work_until_status(message, "delivered")


def test_an_opt_out_stops_what_is_still_waiting(hub: Hub) -> None:
    message = hub.send(GOOD)
    Contact.objects.filter(pk=message.contact_id).update(opted_out_at=message.created_at)
    failed = hub.work_until_status(message, "failed")
    assert failed.code == "contact_opted_out"
    assert hub.sandbox.ledger() == []


def test_a_provider_that_is_not_there_costs_nothing_but_time(hub: Hub, settings: LazySettings) -> None:
    message = hub.send(GOOD)
    url, settings.SENDBLUE = settings.SENDBLUE, {**settings.SENDBLUE, "base_url": "http://127.0.0.1:9"}
    hub.work_until(lambda: message.attempts.filter(outcome="not_sent").exists())
    assert hub.status(message) == "queued"
    settings.SENDBLUE = url
    Message.objects.filter(pk=message.pk).update(due_at=message.created_at)
    hub.work_until_status(message, "delivered")
    assert times_sent(hub, GOOD) == 1


def test_the_persisting_override_tags_the_contact_once_the_provider_took_the_message(hub: Hub) -> None:
    hub.location.manual_override_persists = True
    hub.location.save()
    message = hub.send(GOOD, "from here from now on {IM#2}")
    assert message.contact.tags.count() == 0
    hub.work_until_status(message, "delivered")
    tags = list(message.contact.tags.values_list("name", flat=True))
    assert tags == [f"im: {hub.accounts[1].phone_number}"]
    hub.work_until_status(hub.send(GOOD, "but once from there {TEMP-IM#1}"), "delivered")
    assert list(message.contact.tags.values_list("name", flat=True)) == tags
    assert hub.post(GOOD).json()["routing"]["rule"] == "contact_tag"
