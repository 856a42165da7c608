"""How setups come to be in the admin: made at a provider, with the steps to watch, or connected."""

from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse

from provisioning import services
from provisioning.forms import ConnectForm, CreateForm
from provisioning.models import Setup, SetupStatus
from provisioning.setup_live import steps_of
from provisioning.setup_words import STATUS_WORDS, STUCK
from routing.admin_operations import OperationsAdmin, refuse
from routing.errors import Refused
from routing.models import Location
from routing.scoped_admin import choices_of, may, user_of


class SetupMaking(OperationsAdmin):
    """The pages that make setups. Not Django's own, because those run in one transaction: the provider would be called
    with the row not committed, so a crash would lose the credentials that come back once, and a webhook that comes at
    once would find nothing."""

    def get_urls(self) -> list[URLPattern]:
        """With the page that connects an account, and the steps of a making; before Django's."""
        door = self.admin_site.admin_view
        return [
            path("connect/", door(self.connect_view), name="provisioning_setup_connect"),
            path("progress/", door(self.progress_view), name="provisioning_setup_progress"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Asks for three things, then calls the provider. The form brings the new setup's id along, so that sending it
        twice makes one."""
        form = self._new_form(request, CreateForm)
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            try:
                setup = services.create_setup(
                    location=data["location"],
                    business_name=data["business_name"],
                    label=data["label"],
                    area_code=data["area_code"],
                    setup_id=data["setup_id"],
                    by=user_of(request),
                )
            except Refused as refused:
                before = self._made_before(refused, data)
                if before is not None:
                    return self._on_to(request, before)
                self._redraw(form, refused)
            else:
                self._say_made(request, setup, "Created.")
                return self._on_to(request, setup)
        more = ("More", {"fields": ("area_code",), "classes": ("collapse",)})
        first = (None, {"fields": ("location", "business_name", "label")})
        page: Any = self.form_page(request, title="Add setup", form=form, submit="Create", fieldsets=[first, more])
        page.template_name = "admin/provisioning/setup/add.html"
        page.context_data |= {"steps": steps_of(None), "progress": reverse("admin:provisioning_setup_progress")}
        return page  # type: ignore[no-any-return]

    def progress_view(self, request: HttpRequest) -> HttpResponse:
        """The steps of the setup with the given id, and where its page is once it is stored.

        An id that is not there yet and one of another location answer alike. Raises Http404 for what is no id.
        """
        if not self.has_add_permission(request):
            raise PermissionDenied
        try:
            wanted = UUID(request.GET.get("id", ""))
        except ValueError:
            raise Http404 from None
        setup = self.get_queryset(request).filter(pk=wanted).first()
        answer = {"steps": steps_of(setup), "page": self.page_of(setup) if setup is not None else ""}
        return JsonResponse(answer)

    def connect_view(self, request: HttpRequest) -> HttpResponse:
        """Takes in an account that is at the provider already."""
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
                self._say_made(request, setup, "Connected.")
                return HttpResponseRedirect(self.page_of(setup))
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
        data = request.POST.copy() if request.method == "POST" else None
        form = form_class(data, locations=choices_of(Location, user, self.add_by))
        if form.is_bound and form.is_valid() and not may(user, self.add_by, form.cleaned_data["location"].pk):
            raise PermissionDenied
        if form.is_bound and "setup_id" in form.errors:
            form.data["setup_id"] = str(uuid4())
        return form

    def _made_before(self, refused: Refused, data: dict[str, Any]) -> Setup | None:
        """The setup that this very form made, if it was sent twice."""
        if refused.code != "setup_exists":
            return None
        names = {name: " ".join(data[name].split()) for name in ("business_name", "label")}
        return Setup.objects.filter(pk=data["setup_id"], location=data["location"], **names).first()

    def _redraw(self, form: Any, refused: Refused) -> None:
        """The form again, with the reason, and with another id where that one is used up."""
        if refused.code == "setup_exists":
            form.add_error(None, "This form made a setup already. Press Create once more to make another one.")
        else:
            refuse(form, refused)
        if refused.code in ("setup_exists", "invalid_setup_id"):
            form.data["setup_id"] = str(uuid4())

    def _say_made(self, request: HttpRequest, setup: Setup, sentence: str) -> None:
        if setup.status in STUCK:
            self.message_user(
                request, "Stored, but not ready: what went wrong, and what to do, stands below.", messages.ERROR
            )
            return
        self.message_user(request, f"{sentence} {STATUS_WORDS[SetupStatus(setup.status)]}", messages.SUCCESS)

    def _on_to(self, request: HttpRequest, setup: Setup) -> HttpResponse:
        """To the setup's page; a page that asked by script is told where that is."""
        if request.headers.get("Accept") == "application/json":
            return JsonResponse({"page": self.page_of(setup)})
        return HttpResponseRedirect(self.page_of(setup))
