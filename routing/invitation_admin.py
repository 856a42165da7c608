"""The admin of invitations: made here, their link shown once, withdrawn here."""

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from routing import invitations
from routing.admin_lists import ChoiceFilter
from routing.admin_look import BUSY, GOOD, QUIET, badge, moment
from routing.admin_operations import Operation
from routing.models import Invitation, Role, User
from routing.scoped_admin import ScopedRelatedFilter
from routing.shown_once import OnceForm, ShownOnceAdmin
from routing.team_admin import role_badge, role_choices

VALID_DAYS = ((1, "one day"), (7, "seven days"), (30, "thirty days"))


class InvitationForm(OnceForm):
    """Whom to invite, as what, for how long."""

    valid_days = forms.TypedChoiceField(
        label="The link works for",
        choices=VALID_DAYS,
        coerce=int,
        initial=invitations.VALID_FOR.days,
        widget=forms.Select(attrs={"class": "hub-narrow"}),
    )

    class Meta:
        model = Invitation
        fields = ("location", "name", "role", "can_set_default")
        widgets = {"name": AdminTextInputWidget}
        help_texts = {
            "name": "A name that you recognise in the list. The person chooses how they are called themselves.",
            "can_set_default": "Admins always may; for agents it is granted here.",
        }


class StateFilter(ChoiceFilter):
    """By what became of them."""

    title = "state"
    parameter_name = "state"
    answers = (("open", "open"), ("accepted", "accepted"), ("withdrawn", "withdrawn"), ("expired", "expired"))

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """The rows in that state."""
        now = timezone.now()
        if value == "accepted":
            return queryset.filter(accepted_at__isnull=False)
        if value == "withdrawn":
            return queryset.filter(withdrawn_at__isnull=False)
        waiting = queryset.filter(accepted_at=None, withdrawn_at=None)
        return waiting.filter(expires_at__gt=now) if value == "open" else waiting.filter(expires_at__lte=now)


def is_open(invitation: Invitation) -> bool:
    """Whether its link still works."""
    ended = invitation.accepted_at or invitation.withdrawn_at
    return ended is None and invitation.expires_at > timezone.now()


def _withdraw(user: User, invitation: Invitation, data: dict[str, Any]) -> str:
    invitations.withdraw_invitation(invitation=invitation, now=timezone.now())
    return "Withdrawn: the link lets nobody in any more."


@admin.register(Invitation)
class InvitationAdmin(ShownOnceAdmin):
    """Invitations of a location, for its admins."""

    form = InvitationForm
    view_by = add_by = Role.ADMIN
    list_display = ("name", "location", "role_shown", "state", "expires", "made_by")
    list_select_related = ("location", "created_by", "accepted_by")
    list_filter = (StateFilter, ("location", ScopedRelatedFilter))
    lookups = frozenset({"location__id__exact", "state"})
    search_fields = ("name",)
    ordering = ("-created_at",)
    autocomplete_fields = ("location",)
    radio_fields = {"role": admin.VERTICAL}
    list_words = "One-time links by which people join. Each lets one person in."
    empty_words = "Invite a colleague: you get a link to send them, and they choose their own password."
    add_words = "Invite somebody"
    new_words = "Invite somebody"
    submit_words = "Make the link"
    made_template = "admin/routing/invitation/made.html"
    operations = (
        Operation(
            name="withdraw",
            label="Withdraw",
            run=_withdraw,
            shown=is_open,
            question="The link lets nobody in from now on. Whoever should still come needs a new one.",
            danger=True,
        ),
    )

    class Media:
        css = {"all": ["hub/team.css"]}

    @admin.display(description="role", ordering="role")
    def role_shown(self, invitation: Invitation) -> str:
        """As a badge."""
        return role_badge(invitation.role)

    @admin.display(description="state")
    def state(self, invitation: Invitation) -> str:
        """What became of it."""
        if invitation.accepted_at is not None:
            by = invitation.accepted_by
            return badge(f"accepted by {by.get_username()}" if by else "accepted", GOOD)
        if invitation.withdrawn_at is not None:
            return badge("withdrawn", QUIET)
        return badge("open", BUSY) if is_open(invitation) else badge("expired", QUIET)

    @admin.display(description="works until", ordering="expires_at")
    def expires(self, invitation: Invitation) -> str:
        """On the location's clocks."""
        return moment(invitation.expires_at, invitation.location)

    @admin.display(description="made by")
    def made_by(self, invitation: Invitation) -> str:
        """Who invited."""
        return invitation.created_by.get_username() if invitation.created_by else "–"

    @admin.display(description="made", ordering="created_at")
    def made(self, invitation: Invitation) -> str:
        """On the location's clocks."""
        return moment(invitation.created_at, invitation.location)

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Each role with what it may."""
        kwargs["choices"] = role_choices()
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Those of the form to make one; all but the digest to look at."""
        if obj is None:
            return ("location", "name", "role", "can_set_default")
        return ("name", "location", "state", "role_shown", "can_set_default", "made", "made_by", "expires")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Everything, once it is made."""
        return () if obj is None else self.get_fields(request, obj)

    def make(self, user: User, data: dict[str, Any], id: uuid.UUID | None) -> tuple[Invitation, str]:  # noqa: A002
        """The invitation and its token."""
        valid_for = timedelta(days=data.pop("valid_days"))
        return invitations.create_invitation(by=user, id=id, valid_for=valid_for, **data)

    def shown(self, request: HttpRequest, row: Any, secret: str) -> dict[str, Any]:
        """The link, as others reach the hub."""
        link = f"{settings.HUB_PUBLIC_URL}{reverse('join-link', args=[secret])}"
        return {"title": f"The link for {row.name}", "link": link, "invitation": row}
