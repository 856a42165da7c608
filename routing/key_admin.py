"""The admin of programs' keys."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from routing import services
from routing.admin_look import BAD, GOOD, QUIET, badge, moment
from routing.admin_operations import Operation
from routing.models import ApiKey, Role, User
from routing.scoped_admin import ScopedRelatedFilter
from routing.shown_once import OnceForm, ShownOnceAdmin


class ApiKeyForm(OnceForm):
    """What a new key is made from."""

    class Meta:
        model = ApiKey
        fields = ("location", "name", "expires_at")
        widgets = {"name": AdminTextInputWidget}

    def clean_expires_at(self) -> Any:
        """Refuses a key that would never open anything."""
        at = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise forms.ValidationError("Choose a time in the future.")
        return at


def _revoke(user: User, key: ApiKey, data: dict[str, Any]) -> str:
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    return "Revoked: the key opens nothing any more."


@admin.register(ApiKey)
class ApiKeyAdmin(ShownOnceAdmin):
    """Keys of programs: made here, shown once, revoked here. A key without a location is the operators' affair."""

    form = ApiKeyForm
    view_by = add_by = Role.ADMIN
    list_display = ("name", "key", "location", "state", "created", "made_by", "last_used")
    list_select_related = ("location", "created_by")
    list_filter = (("location", ScopedRelatedFilter),)
    lookups = frozenset({"location__id__exact"})
    search_fields = ("name",)
    ordering = ("-created_at",)
    autocomplete_fields = ("location",)
    list_words = "With a key a program sends, reads and listens in the name of a location."
    empty_words = "Make one for each program, so that one can be revoked without the others."
    add_words = new_words = "New key"
    submit_words = "Make the key"
    made_template = "admin/routing/apikey/made.html"
    operations = (
        Operation(
            name="revoke",
            label="Revoke",
            run=_revoke,
            shown=lambda key: key.revoked_at is None,
            question="Programs that use this key are refused from now on. This cannot be undone.",
            danger=True,
        ),
    )

    @admin.display(description="begins with")
    def key(self, key: ApiKey) -> str:
        """As much as tells keys apart."""
        return format_html("<code>{}…</code>", key.prefix)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        """Whether it opens the door."""
        if key.revoked_at is not None:
            return badge("revoked", BAD)
        expired = key.expires_at is not None and key.expires_at <= timezone.now()
        return badge("expired", QUIET) if expired else badge("valid", GOOD)

    @admin.display(description="created", ordering="created_at")
    def created(self, key: ApiKey) -> str:
        """When it was made."""
        return moment(key.created_at, key.location)

    @admin.display(description="made by")
    def made_by(self, key: ApiKey) -> str:
        """Who made it; a dash for what no person made."""
        return key.created_by.get_username() if key.created_by else "–"

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        """To the minute."""
        return moment(key.last_used_at, key.location) if key.last_used_at else "never"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Three to make one; all but the digest to look at."""
        if obj is None:
            return ("location", "name", "expires_at")
        return (
            "name", "key", "location", "state", "created", "made_by", "last_used", "expires_at", "revoked_at"
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Everything, once it is made."""
        return () if obj is None else self.get_fields(request, obj)

    def make(self, user: User, data: dict[str, Any], id: uuid.UUID | None) -> tuple[ApiKey, str]:  # noqa: A002
        """The key."""
        return services.create_api_key(by=user, id=id, **data)

    def shown(self, request: HttpRequest, row: Any, secret: str) -> dict[str, Any]:
        """The key's page."""
        return {"title": f"The key of “{row.name}”", "key": secret}
