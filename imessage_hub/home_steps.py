"""The first steps on a new location, each ticked off by what is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from messaging.models import Message
from messaging.statistics import TAKEN
from provisioning.models import LineStatus, PhoneLine, Setup
from routing.models import Contact, Location, Membership, Role, User


@dataclass(frozen=True)
class Step:
    """One thing to do, where to do it, and whether it is done."""

    title: str
    words: str
    done: bool
    url: str
    icon: str


def address(*names: str, args: tuple[Any, ...] = (), **query: Any) -> str:
    """The address of the first of the admin's pages that there is; "" for none."""
    for name in names:
        try:
            found = reverse(f"admin:{name}", args=args)
        except NoReverseMatch:
            continue
        return f"{found}?{urlencode(query)}" if query else found
    return ""


def facts_of(location: Location, user: User) -> Mapping[str, Any]:
    """What there is at the location of each kind of thing that the steps make; in one query."""
    here = Location.objects.filter(pk=location.pk)
    return here.values("default_account").annotate(
        setup=_any(Setup.objects.all()),
        line=_any(PhoneLine.objects.filter(status=LineStatus.ASSIGNED)),
        team=_any(Membership.objects.exclude(user=user)),
        contact=_any(Contact.objects.all()),
        message=_any(Message.objects.filter(status__in=TAKEN)),
    )[0]


def first_steps(location: Location, user: User, facts: Mapping[str, Any]) -> list[Step]:
    """What the user can do to get the location going, in order; empty once all of it is done."""
    steps = [step for least, step in _steps(location, facts) if user.may(least, location.pk)]
    return [] if all(step.done for step in steps) else steps


def _any(rows: QuerySet[Any]) -> Exists:
    return Exists(rows.filter(location=OuterRef("pk")))


def _steps(location: Location, facts: Mapping[str, Any]) -> list[tuple[Role, Step]]:
    here: dict[str, Any] = {"location": location.pk}
    chosen: dict[str, Any] = {"location__id__exact": location.pk}
    return [
        (
            Role.ADMIN,
            Step(
                "Create a setup",
                "It asks the provider for a phone line that carries your business name.",
                facts["setup"],
                address("provisioning_setup_add", **here),
                "layout-grid",
            ),
        ),
        (
            Role.ADMIN,
            Step(
                "See its line assigned",
                "The number comes by itself, mostly within minutes; the setup's page shows it.",
                facts["line"],
                address("provisioning_setup_changelist", **chosen),
                "smartphone",
            ),
        ),
        (
            Role.ADMIN,
            Step(
                "Mark a default account",
                "It sends whenever no other rule chooses a number.",
                facts["default_account"] is not None,
                address("routing_account_changelist", **chosen),
                "star",
            ),
        ),
        (
            Role.ADMIN,
            Step(
                "Invite your team",
                "Agents converse, viewers read, admins run the place with you.",
                facts["team"],
                address("routing_invitation_add", "routing_membership_add", **here),
                "user-plus",
            ),
        ),
        (
            Role.ADMIN,
            Step(
                "Add or import contacts",
                "One by one, or all at once from a table.",
                facts["contact"],
                address("routing_contact_changelist", **chosen),
                "users",
            ),
        ),
        (
            Role.AGENT,
            Step(
                "Send a first message",
                "Write to yourself first, and watch it arrive.",
                facts["message"],
                address("messaging_thread_changelist", "routing_contact_changelist"),
                "send",
            ),
        ),
    ]
