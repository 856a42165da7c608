"""The home page: a location at a glance, and what to do there next; at the same cost however much was said."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest
from django.utils import timezone
from django.utils.timesince import timesince

from imessage_hub.home_chart import draw
from imessage_hub.home_steps import address, facts_of, first_steps
from messaging import statistics
from messaging.advice import advice
from messaging.message_words import SHORT_RULES, STATUS_TONES
from messaging.models import Message, MessageStatus
from provisioning.attention import Trouble, troubles
from routing.models import Location, Role, User
from routing.scoped_admin import MAX_SEARCH_LENGTH, user_of
from routing.selection import Rule

OFFERED = 20
"""So many locations stand in the picker; a search finds the others."""

ON_THEIR_WAY = (MessageStatus.SCHEDULED, MessageStatus.QUEUED, MessageStatus.SENDING)


@dataclass(frozen=True)
class Share:
    """One line of a list of counts; `percent` of the greatest."""

    word: str
    count: int
    url: str
    tone: str = ""
    percent: int = 0


def home(request: HttpRequest) -> dict[str, Any]:
    """What the page shows to this user. Raises Http404 for a location of others, or of nobody."""
    user, now = user_of(request), timezone.now()
    location = _location(request, user)
    if location is None:
        return {"location": None, "may_add_location": user.is_superuser, "address": address("routing_location_add")}
    today = statistics.today(location, now=now)
    only = _today_only(user, location)
    facts = facts_of(location, user)
    inbound = statistics.last_inbound(location)
    return {
        "location": location,
        "here": statistics.local_day(location, now),
        "picker": _picker(request, user),
        "steps": first_steps(location, user, facts),
        "today": today,
        "on_their_way": today.count(*ON_THEIR_WAY),
        "statuses": _statuses(location, today, only),
        "rules": _rules(location, today, only),
        "failures": [_failure(location, failures, only) for failures in today.failures],
        "chart": draw(statistics.last_days(location, now=now, so_far=today)),
        "troubles": [_trouble(trouble, now) for trouble in troubles(location, now=now)],
        "no_setup": not facts["setup"],
        "desk": _desk(location, statistics.on_desk(location, now=now)),
        "inbound": inbound,
        "inbound_url": inbound and _conversation(inbound.contact_id, inbound.pk),
        "links": _links(location, only),
        "is_admin": user.may(Role.ADMIN, location.pk),
    }


def _location(request: HttpRequest, user: User) -> Location | None:
    """The one that was asked for, or the first; None where the user has none at all."""
    mine = Location.objects.visible_to(user).order_by("name", "pk")
    wanted = request.GET.get("location")
    if not wanted:
        return mine.first()
    found = mine.filter(pk=wanted).first()
    if found is None:
        raise Http404
    return found


def _picker(request: HttpRequest, user: User) -> dict[str, Any] | None:
    """The locations to choose from; None for a user of one."""
    if user.only_location_name and not user.is_superuser:
        return None
    term = request.GET.get("find", "").replace("\0", "").strip()[:MAX_SEARCH_LENGTH]
    mine = Location.objects.visible_to(user).order_by("name", "pk")
    found = list((mine.filter(name__icontains=term) if term else mine)[: OFFERED + 1])
    if len(found) < 2 and not term:
        return None
    return {
        "locations": found[:OFFERED],
        "more": len(found) > OFFERED,
        "searchable": user.is_superuser or len(found) > OFFERED or bool(term),
        "find": term,
    }


def _messages(location: Location, **query: Any) -> str:
    return address("messaging_message_changelist", location__id__exact=location.pk, **query)


def _today_only(user: User, location: Location) -> dict[str, str]:
    """What narrows the list to the location's day: nothing where the list keeps another zone's days for the user."""
    known = admin.site.get_model_admin(Message).lookups  # type: ignore[attr-defined]
    return {"date": "today"} if "date" in known and user.time_zone == location.time_zone else {}


def _links(location: Location, only: Mapping[str, str]) -> Mapping[str, str]:
    here: dict[str, Any] = {"location__id__exact": location.pk}
    return {
        "messages": _messages(location, **only),
        "received": _messages(location, direction__exact="inbound", **only),
        "sent": _messages(location, direction__exact="outbound", **only),
        "failed": _messages(location, status=MessageStatus.FAILED.value, **only),
        "setups": address("provisioning_setup_changelist", **here),
        "add_setup": address("provisioning_setup_add", location=location.pk),
        "conversations": address("messaging_thread_changelist", "messaging_message_changelist", **here),
    }


def _statuses(location: Location, today: statistics.Today, only: Mapping[str, str]) -> list[Share]:
    return [
        Share(
            str(status.label),
            today.by_status[status],
            _messages(location, status=status.value, **only),
            STATUS_TONES[status],
        )
        for status in MessageStatus
        if status in today.by_status
    ]


def _rules(location: Location, today: statistics.Today, only: Mapping[str, str]) -> list[Share]:
    most = max(today.by_rule.values(), default=1)
    return [
        Share(
            SHORT_RULES[rule],
            today.by_rule[rule],
            _messages(location, rule=rule.value, **only),
            percent=max(1, round(100 * today.by_rule[rule] / most)),
        )
        for rule in Rule
        if rule in today.by_rule
    ]


def _failure(location: Location, failures: statistics.Failures, only: Mapping[str, str]) -> dict[str, Any]:
    status = MessageStatus.EXPIRED if failures.expired else MessageStatus.FAILED
    return {
        "code": failures.code,
        "count": failures.count,
        "advice": advice(failures.code, failures.detail),
        "url": _messages(location, status=status.value, **only),
    }


def _trouble(trouble: Trouble, now: datetime) -> dict[str, Any]:
    told = trouble.since is not None and now - trouble.since >= timedelta(minutes=1)
    return {
        "trouble": trouble,
        "url": address("provisioning_setup_change", args=(trouble.setup.pk,)),
        # The larger unit alone: "3 days", not "3 days, 4 hours".
        "age": timesince(trouble.since, now, depth=1) if told and trouble.since else "",
    }


def _desk(location: Location, count: int) -> dict[str, Any] | None:
    """The messages whose outcome a person has to tell; None without any."""
    if not count:
        return None
    told = f"{statistics.MOST_ON_DESK}+" if count > statistics.MOST_ON_DESK else str(count)
    # The page made for it, or the list.
    url = address("messaging_message_desk") or _messages(location, status=MessageStatus.UNCERTAIN.value)
    return {"count": told, "one": count == 1, "url": url}


def _conversation(contact_id: Any, message_id: Any) -> str:
    """The page of the conversation; of the message, where there is no such page."""
    return address("messaging_thread_change", args=(contact_id,)) or address(
        "messaging_message_change", args=(message_id,)
    )
