"""The team's admin, with what only the roof knows: who has a second factor, and how it is reset."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest

from imessage_hub.models import SecondFactor
from imessage_hub.sign_in import second_factor
from routing.admin_look import GOOD, badge
from routing.admin_operations import Operation
from routing.errors import Refused
from routing.models import Membership, Role, User
from routing.team_admin import MembershipAdmin


def _reset(user: User, membership: Membership, data: dict[str, Any]) -> str:
    if not second_factor.turn_off(user=membership.user, by=user):
        raise Refused("no_second_factor", "This person has no second factor.", status=409)
    return "Reset: they sign in with their password alone, and are asked to set up a new second factor where it is due."


def may_reset(user: User, membership: Membership) -> bool:
    """Operators; and admins of every location that the member works in: elsewhere it is not theirs to lower the guard.

    Never one's own: who has it turns it off by a code.
    """
    if user.pk == membership.user_id or not user.may(Role.ADMIN, membership.location_id):
        return False
    member = membership.user
    if user.is_superuser:
        return True
    return not member.is_superuser and all(user.may(Role.ADMIN, location_id) for location_id in member.roles)


class TeamAdmin(MembershipAdmin):
    """Memberships, each with the second factor of its person."""

    list_display = (*MembershipAdmin.list_display, "second_factor")
    operations = (
        *MembershipAdmin.operations,
        Operation(
            name="reset-second-factor",
            label="Reset second factor",
            run=_reset,
            permitted=may_reset,
            shown=lambda membership: membership.has_second_factor,
            question=(
                "Do this when they lost their phone and their recovery codes, and only after you know that it is really"
                " them. They are signed out everywhere."
            ),
            danger=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With whether the person has a second factor."""
        devices = SecondFactor.objects.filter(user=OuterRef("user"), confirmed=True)
        rows: QuerySet[Any] = super().get_queryset(request).annotate(has_second_factor=Exists(devices))
        return rows

    @admin.display(description="second factor")
    def second_factor(self, membership: Any) -> str:
        """Whether there is one."""
        return badge("on", GOOD) if membership.has_second_factor else "–"


def register() -> None:
    """Put this admin in the place of the one beneath."""
    admin.site.unregister(Membership)
    admin.site.register(Membership, TeamAdmin)
