"""The admin of setups with their phone lines; that of provider events stands beside it."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from provisioning import services
from provisioning.event_admin import outcome_badge
from provisioning.forms import ConnectForm, CreateForm, CredentialsForm
from provisioning.models import LineStatus, PhoneLine, Setup, SetupStatus
from provisioning.providers.base import Credentials, Health
from routing.admin_look import BAD, BUSY, GOOD, QUIET, WARN, badge, moment, phone, set_on
from routing.admin_operations import Operation, OperationsAdmin, refuse
from routing.errors import Refused
from routing.models import Location, Role, User
from routing.scoped_admin import (
    ReadOnlyInline,
    ScopedRelatedFilter,
    choices_of,
    may,
    user_of,
)

RECENT_EVENTS = 10

STATUS_TONES = {
    SetupStatus.PROVISIONING: BUSY,
    SetupStatus.PENDING: BUSY,
    SetupStatus.ACTIVE: GOOD,
    SetupStatus.UNKNOWN: WARN,
    SetupStatus.FAILED: BAD,
    SetupStatus.CLOSED: QUIET,
}
STATUS_WORDS = {
    SetupStatus.PROVISIONING: "The provider is being asked.",
    SetupStatus.PENDING: "The account at the provider is there; its first phone line is still to come.",
    SetupStatus.ACTIVE: "At least one phone line is assigned.",
    SetupStatus.UNKNOWN: (
        "The provider's answer was lost, so the account may be there or not. Look at the provider, then attach its"
        " credentials, retry as new, or abandon. Nothing is repeated by itself."
    ),
    SetupStatus.FAILED: "The provider refused. Mend what it says and retry, or abandon.",
    SetupStatus.CLOSED: "Retired: nothing is sent or received; the history stays.",
}
LINE_TONES = {LineStatus.PENDING: BUSY, LineStatus.ASSIGNED: GOOD, LineStatus.RELEASED: QUIET}
HEALTH_TONES = {
    Health.UNKNOWN: QUIET,
    Health.ONLINE: GOOD,
    Health.DEGRADED: WARN,
    Health.OFFLINE: BAD,
    Health.BLOCKED: BAD,
}
STUCK = frozenset({SetupStatus.FAILED, SetupStatus.UNKNOWN})


def _refresh(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.read_lines(setup=setup)
    return "Phone lines read from the provider."


def _rotate(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.rotate_webhook_secret(setup=setup, by=user)
    return "Webhook secret rotated."


def _attach(user: User, setup: Setup, data: dict[str, Any]) -> str:
    credentials = Credentials(key_id=data["key_id"], secret=data["secret"])
    services.attach_credentials(setup=setup, credentials=credentials, by=user)
    return "Credentials attached."


def _retry(user: User, setup: Setup, data: dict[str, Any]) -> str:
    status = services.retry_setup(setup=setup, by=user).status
    return f"Asked the provider again; the setup is {status} now."


def _abandon(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.abandon_setup(setup=setup, by=user)
    return "Abandoned."


def _close(user: User, setup: Setup, data: dict[str, Any]) -> str:
    services.close_setup(setup=setup, by=user)
    return "Closed."


def _is_stuck(setup: Setup) -> bool:
    return setup.status in STUCK


def _runs(setup: Setup) -> bool:
    return setup.status in (SetupStatus.PENDING, SetupStatus.ACTIVE)


class PhoneLineInline(ReadOnlyInline):
    """The setup's lines, to look at: they change by what the provider says."""

    model = PhoneLine
    fields = readonly_fields = ("number", "state", "line_health", "account", "requested", "assigned")
    verbose_name_plural = "phone lines"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With their accounts."""
        return super().get_queryset(request).select_related("account")

    @admin.display(description="number")
    def number(self, line: PhoneLine) -> str:
        """The number, once there is one."""
        return phone(line.phone_number)

    @admin.display(description="state")
    def state(self, line: PhoneLine) -> str:
        """Where it is in its life."""
        return badge(line.get_status_display(), LINE_TONES[LineStatus(line.status)])

    @admin.display(description="health")
    def line_health(self, line: PhoneLine) -> str:
        """How it does at the provider."""
        return badge(line.health, HEALTH_TONES[Health(line.health)])

    @admin.display(description="requested")
    def requested(self, line: PhoneLine) -> str:
        """When it was asked for."""
        return moment(line.requested_at)

    @admin.display(description="assigned")
    def assigned(self, line: PhoneLine) -> str:
        """When it got its number."""
        return moment(line.assigned_at)


@admin.register(Setup)
class SetupAdmin(OperationsAdmin):
    """Setups: made and connected here, watched, mended, closed; never deleted."""

    add_by = change_by = Role.ADMIN
    audited_values = frozenset({"label", "business_name", "area_code"})
    list_display = ("business_name", "label", "state", "lines", "location", "provider", "created")
    list_display_links = ("business_name", "label")
    list_select_related = ("location",)
    list_filter = ("status", ("location", ScopedRelatedFilter), "provider")
    lookups = frozenset({"status__exact", "location__id__exact", "provider__exact"})
    search_fields = ("business_name", "label", "phone_lines__phone_number")
    search_help_text = "Business name, label or number"
    ordering = ("-created_at",)
    inlines = (PhoneLineInline,)
    fieldsets = (
        (None, {"fields": ("business_name", "label", "location", "provider", "area_code")}),
        ("State", {"fields": ("state", "meaning", "problem_words", "lines_read", "reference")}),
        ("Secrets", {"fields": ("credentials", "webhook_secret_set", "webhooks_registered"), "classes": ("collapse",)}),
        ("History", {"fields": ("recent_events", "created", "created_by", "closed"), "classes": ("collapse",)}),
    )
    operations = (
        Operation(
            name="refresh",
            label="Refresh from provider",
            run=_refresh,
            shown=lambda setup: _runs(setup) and setup.credentials_set_at is not None,
        ),
        Operation(
            name="retry",
            label="Retry as new",
            run=_retry,
            audited=True,
            shown=_is_stuck,
            question=(
                "The provider is asked for an account again. If the first request did arrive, there will be two and"
                " both may be charged: look at the provider first."
            ),
        ),
        Operation(
            name="attach-credentials",
            label="Attach credentials",
            run=_attach,
            audited=True,
            form=CredentialsForm,
            shown=lambda setup: _is_stuck(setup) or (_runs(setup) and setup.credentials_rejected_at is not None),
            question="The credentials of the account at the provider. They are stored encrypted and never shown again.",
        ),
        Operation(
            name="rotate-webhook-secret",
            label="Rotate webhook secret",
            run=_rotate,
            audited=True,
            shown=_runs,
            question="The provider is given a new secret; the old one works for a while, so that nothing is lost.",
        ),
        Operation(
            name="abandon",
            label="Abandon",
            run=_abandon,
            audited=True,
            shown=_is_stuck,
            question="The setup is given up. If the provider did make an account, it stays there and may be charged.",
            danger=True,
        ),
        Operation(
            name="close",
            label="Close",
            run=_close,
            audited=True,
            shown=_runs,
            question=(
                "Its phone lines are released and its accounts send nothing any more. Messages and events stay. This"
                " cannot be undone."
            ),
            danger=True,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        """With the page that connects an account that is there already."""
        door = self.admin_site.admin_view(self.connect_view)
        return [path("connect/", door, name="provisioning_setup_connect"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the counts of their lines."""
        rows: Any = super().get_queryset(request)
        counted: QuerySet[Any] = rows.with_line_counts()
        return counted

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The label can change; the rest only while nothing is at the provider under it."""
        shown = [name for _, options in self.fieldsets for name in options["fields"]]
        free = {"label", "business_name", "area_code"} if obj and obj.status == SetupStatus.FAILED else {"label"}
        return [name for name in shown if name not in free]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Changes only: a setup that no provider was asked for would wait for ever."""
        if not change:
            raise PermissionDenied
        super().save_model(request, obj, form, change)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Asks for three things, then calls the provider.

        Not Django's own view, because that runs in one transaction: the provider would be called with the row not
        committed, so a crash would lose the credentials that come back once, and a webhook that comes at once would
        find nothing.
        """
        form = self._new_form(request, CreateForm)
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            try:
                setup = services.create_setup(
                    location=data["location"],
                    business_name=data["business_name"],
                    label=data["label"],
                    area_code=data["area_code"],
                    by=user_of(request),
                )
            except Refused as refused:
                refuse(form, refused)
            else:
                return self._made(request, setup, "Created.")
        more = ("More", {"fields": ("area_code",), "classes": ("collapse",)})
        first = (None, {"fields": ("location", "business_name", "label")})
        return self.form_page(request, title="Add setup", form=form, submit="Create", fieldsets=[first, more])

    def connect_view(self, request: HttpRequest) -> HttpResponse:
        """Takes in an account that is at the provider already; outside a transaction, as `add_view`."""
        form = self._new_form(request, ConnectForm)
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            try:
                setup = services.connect_setup(
                    location=data["location"],
                    business_name=data["business_name"],
                    label=data["label"],
                    provider=data["provider"],
                    credentials=form.credentials(),
                    by=user_of(request),
                )
            except Refused as refused:
                refuse(form, refused)
            else:
                return self._made(request, setup, "Connected.")
        return self.form_page(
            request,
            title="Connect an existing account",
            form=form,
            submit="Connect",
            question="The credentials are stored encrypted and never shown again.",
        )

    def _new_form(self, request: HttpRequest, form_class: Any) -> Any:
        if not self.has_add_permission(request):
            raise PermissionDenied
        user = user_of(request)
        data = request.POST if request.method == "POST" else None
        form = form_class(data, locations=choices_of(Location, user, self.add_by))
        if form.is_bound and form.is_valid() and not may(user, self.add_by, form.cleaned_data["location"].pk):
            raise PermissionDenied
        return form

    def _made(self, request: HttpRequest, setup: Setup, sentence: str) -> HttpResponse:
        level = messages.ERROR if setup.status in STUCK else messages.SUCCESS
        self.message_user(request, f"{sentence} {STATUS_WORDS[SetupStatus(setup.status)]}", level)
        if setup.problem:
            self.message_user(request, setup.problem, messages.WARNING)
        return HttpResponseRedirect(self.page_of(setup))

    @admin.display(description="status", ordering="status")
    def state(self, setup: Setup) -> str:
        """The status in one word."""
        return badge(setup.get_status_display(), STATUS_TONES[SetupStatus(setup.status)])

    @admin.display(description="what it means")
    def meaning(self, setup: Setup) -> str:
        """The status in a sentence."""
        return STATUS_WORDS[SetupStatus(setup.status)]

    @admin.display(description="problem")
    def problem_words(self, setup: Setup) -> str:
        """What went wrong, in words and with the code to search for."""
        if not setup.problem and not setup.problem_code:
            return "–"
        return format_html('<span class="hub-problem">{}</span> <code>{}</code>', setup.problem, setup.problem_code)

    @admin.display(description="lines")
    def lines(self, setup: Any) -> str:
        """Assigned ones, of all that are not released."""
        return format_html(
            '<span title="{0} assigned of {1}">{0}/{1}</span>', setup.assigned_line_count, setup.phone_line_count
        )

    @admin.display(description="lines last read")
    def lines_read(self, setup: Setup) -> str:
        """When the provider was asked for its lines."""
        return moment(setup.lines_read_at)

    @admin.display(description="its name at the provider")
    def reference(self, setup: Setup) -> str:
        """What to look for there when an answer was lost."""
        return format_html("<code>{}</code>", services.reference_of(setup))

    @admin.display(description="credentials")
    def credentials(self, setup: Setup) -> str:
        """Whether there are any and whether they work; never what they are."""
        if setup.credentials_rejected_at is None:
            return set_on(setup.credentials_set_at)
        return format_html("{} {}", set_on(setup.credentials_set_at), badge("rejected by the provider", BAD))

    @admin.display(description="webhook secret")
    def webhook_secret_set(self, setup: Setup) -> str:
        """The day it was made; never what it is."""
        return set_on(setup.webhook_secret_set_at)

    @admin.display(description="webhooks registered")
    def webhooks_registered(self, setup: Setup) -> str:
        """When the provider was told where to send its events."""
        return moment(setup.webhooks_registered_at)

    @admin.display(description="recent events")
    def recent_events(self, setup: Setup) -> str:
        """The last few, with links."""
        rows = [
            {
                "url": reverse("admin:provisioning_providerevent_change", args=[event.pk]),
                "type": event.type,
                "received": moment(event.received_at),
                "outcome": outcome_badge(event),
                "detail": event.detail,
            }
            for event in setup.events.defer("body").order_by("-received_at", "id")[:RECENT_EVENTS]
        ]
        all_url = reverse("admin:provisioning_providerevent_changelist") + f"?setup__id__exact={setup.pk}"
        return render_to_string("admin/provisioning/setup/recent_events.html", {"rows": rows, "all_url": all_url})

    @admin.display(description="created", ordering="created_at")
    def created(self, setup: Setup) -> str:
        """When it was made."""
        return moment(setup.created_at)

    @admin.display(description="closed")
    def closed(self, setup: Setup) -> str:
        """When it was closed."""
        return moment(setup.closed_at)
