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
from provisioning.forms import ConnectForm, CreateForm
from provisioning.line_inline import PhoneLineInline
from provisioning.models import Setup, SetupStatus
from provisioning.setup_operations import OPERATIONS
from provisioning.setup_words import STATUS_TONES, STATUS_WORDS, STUCK
from routing.admin_look import BAD, badge, moment, set_on
from routing.admin_operations import OperationsAdmin, refuse
from routing.errors import Refused
from routing.models import Location, Role
from routing.scoped_admin import (
    ScopedRelatedFilter,
    choices_of,
    may,
    user_of,
)

RECENT_EVENTS = 10


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
    operations = OPERATIONS

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
        self.log_addition(request, setup, sentence)
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
