"""The admin of setups with their phone lines; their making and that of provider events stand beside it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince

from provisioning import event_admin, services
from provisioning.models import PENDING_LONG, Setup, SetupStatus
from provisioning.setup_live import live_part
from provisioning.setup_making import SetupMaking
from provisioning.setup_operations import OPERATIONS, accounts_of, closing
from provisioning.setup_words import STATUS_TONES, refusal_words
from routing.admin import token
from routing.admin_lists import ChoiceFilter
from routing.admin_look import BAD, WARN, badge, moment, set_on
from routing.impact import Change
from routing.impact_admin import ImpactAdmin
from routing.models import Role
from routing.scoped_admin import ScopedRelatedFilter

__all__ = ["SetupAdmin", "event_admin"]


class AttentionFilter(ChoiceFilter):
    """Setups where a person has to do something."""

    title = "attention"
    parameter_name = "attention"
    answers = (("yes", "needs attention"),)

    def chosen(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Lost, refused, rejected, or pending for long."""
        setups: Any = queryset
        found: QuerySet[Any] = setups.needing_attention(timezone.now())
        return found


@admin.register(Setup)
class SetupAdmin(SetupMaking, ImpactAdmin):
    """Setups: made and connected here, watched, mended, closed; never deleted."""

    class Media:
        css = {"all": ("hub/setups.css", "hub/accounts.css")}

    add_by = change_by = Role.ADMIN
    audited_values = frozenset({"label", "business_name", "area_code"})
    list_display = ("business_name", "label", "state", "lines", "oldest_pending", "location", "provider", "created")
    list_display_links = ("business_name",)
    list_words = "Each setup is a business identity at a provider, with the phone lines that your accounts send from."
    empty_words = "Add one: the provider makes an account for your business and gives it a phone line."
    add_words = "Add setup"
    list_filter = (AttentionFilter, "status", ("location", ScopedRelatedFilter), "provider")
    lookups = frozenset({"attention", "status__exact", "location__id__exact", "provider__exact"})
    search_fields = ("business_name", "label", "phone_lines__phone_number")
    search_help_text = "Business name, label or number"
    ordering = ("-created_at",)
    fieldsets = (
        ("Names", {"fields": ("business_name", "label", "location", "provider", "area_code")}),
        (
            "At the provider",
            {"fields": ("reference", "lines_read", "credentials", "webhook_secret_set", "webhooks_registered")},
        ),
        ("History", {"fields": ("created", "made_by", "closed"), "classes": ("collapse",)}),
    )
    operations = OPERATIONS
    weighed = {"close": closing}

    def get_urls(self) -> list[URLPattern]:
        """With the moving part of a setup's page; before Django's, which would take any path for an id."""
        door = self.admin_site.admin_view(self.live_view)
        return [path("<path:object_id>/live/", door, name="provisioning_setup_live"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the counts of their lines, and who made them."""
        rows: Any = super().get_queryset(request).select_related("location", "created_by")
        counted: QuerySet[Any] = rows.with_line_counts()
        return counted

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With how many need attention."""
        rows: Any = super().get_queryset(request)
        waiting = rows.needing_attention(timezone.now()).order_by().count()
        asked = "attention" in request.GET
        return super().changelist_view(request, {"attention": 0 if asked else waiting, **(extra_context or {})})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """With the part that moves."""
        if context.get("original") is not None:
            context["live"] = live_part(context["original"], request)
        return super().render_change_form(request, context, *args, **kwargs)

    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The moving part alone. Raises Http404 for setups of other locations as for absent ones."""
        setup = self.get_object(request, unquote(object_id))
        if setup is None:
            raise Http404
        return HttpResponse(live_part(setup, request))

    def consequences(self, name: str, objs: Sequence[Any], changes: Sequence[Change]) -> list[str]:
        """Which accounts stop, and whether the default is among them."""
        accounts = accounts_of(objs)
        if not accounts:
            return ["No account sends from it."]
        names = ", ".join(f"{token(account)} {account.label}" for account in accounts)
        counted = "1 account stops" if len(accounts) == 1 else f"{len(accounts)} accounts stop"
        defaults = [account for account in accounts if account.location.default_account_id == account.pk]
        return [
            f"{counted} sending: {names}.",
            *(f"{token(each)} is the default of {each.location}; it would be passed over." for each in defaults),
        ]

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

    @admin.display(description="status", ordering="status")
    def state(self, setup: Setup) -> str:
        """The status in one word."""
        status = badge(setup.get_status_display(), STATUS_TONES[SetupStatus(setup.status)])
        refused = refusal_words(setup)
        return format_html("{} {}", status, badge(refused, BAD)) if refused else status

    @admin.display(description="lines", ordering="phone_line_count")
    def lines(self, setup: Any) -> str:
        """Assigned ones, of all that are not released, as a figure and a bar."""
        if not setup.phone_line_count:
            return "–"
        return format_html(
            '<span class="hub-lines" title="{0} assigned of {1}"><progress value="{0}" max="{1}" aria-hidden="true">'
            "</progress><span>{0}/{1}</span></span>",
            setup.assigned_line_count,
            setup.phone_line_count,
        )

    @admin.display(description="oldest pending", ordering="oldest_pending_at", empty_value="–")
    def oldest_pending(self, setup: Any) -> str | None:
        """For how long the line has waited that waits longest."""
        if setup.oldest_pending_at is None:
            return None
        age = timesince(setup.oldest_pending_at, depth=1)
        late = timezone.now() - setup.oldest_pending_at > PENDING_LONG
        return badge(f"for {age}", WARN) if late else f"for {age}"

    @admin.display(description="lines last read")
    def lines_read(self, setup: Setup) -> str:
        """When the provider was asked for its lines."""
        return moment(setup.lines_read_at, setup.location)

    @admin.display(description="its name at the provider")
    def reference(self, setup: Setup) -> str:
        """What to look for there when an answer was lost."""
        return format_html("<code>{}</code>", services.reference_of(setup))

    @admin.display(description="credentials")
    def credentials(self, setup: Setup) -> str:
        """Whether there are any and whether they work; never what they are."""
        refused = refusal_words(setup)
        if not refused:
            return set_on(setup.credentials_set_at)
        return format_html("{} {}", set_on(setup.credentials_set_at), badge(refused, BAD))

    @admin.display(description="webhook secret")
    def webhook_secret_set(self, setup: Setup) -> str:
        """The day it was made; never what it is."""
        return set_on(setup.webhook_secret_set_at)

    @admin.display(description="webhooks registered")
    def webhooks_registered(self, setup: Setup) -> str:
        """When the provider was told where to send its events."""
        return moment(setup.webhooks_registered_at, setup.location)

    @admin.display(description="created", ordering="created_at")
    def created(self, setup: Setup) -> str:
        """When it was made."""
        return moment(setup.created_at, setup.location)

    @admin.display(description="created by")
    def made_by(self, setup: Setup) -> str:
        """Who asked for it; no link, because users are the operators' affair."""
        return "–" if setup.created_by is None else setup.created_by.get_username()

    @admin.display(description="closed")
    def closed(self, setup: Setup) -> str:
        """When it was closed."""
        return moment(setup.closed_at, setup.location)
