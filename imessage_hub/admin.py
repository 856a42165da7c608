"""The admin site."""

from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.checks import CheckMessage, Error
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.defaults import bad_request

from imessage_hub.navigation import navigation
from routing.models import User
from routing.scoped_admin import LocationScopedAdmin


class HubAdminSite(admin.AdminSite):
    """Django's admin under our name. Whoever is active and staff comes in; what they see follows from memberships.

    Nothing is deleted in bulk. An admin that is not scoped by location keeps the hub from starting.
    """

    site_header = "iMessage Hub"
    site_title = "iMessage Hub"
    index_title = "Home"
    site_url = None
    enable_nav_sidebar = False
    empty_value_display = "–"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """As Django's; an id in the address or the form that cannot be one is answered 400."""

        @wraps(view)
        def refusing(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                response = view(request, *args, **kwargs)
                # Forms look their choices up when they are drawn.
                return response.render() if isinstance(response, SimpleTemplateResponse) else response
            except ValidationError:
                return bad_request(request, BadRequest())

        return super().admin_view(refusing, cacheable)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """With the side bar, and the name of the location for whom there is only one."""
        context = super().each_context(request)
        if context["has_permission"] and isinstance(request.user, User):
            context["hub_navigation"] = navigation(self, request)
            context["hub_where"] = request.user.only_location_name
        return context

    @method_decorator(never_cache)
    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """A location at a glance."""
        # Here, because it imports the words of the apps' admins, which register with this class.
        from imessage_hub.home import home

        context = {**self.each_context(request), "title": self.index_title, **home(request), **(extra_context or {})}
        request.current_app = self.name
        return TemplateResponse(request, "admin/index.html", context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """With one's own account; without the door that looks for any object of any type by its id."""
        from imessage_hub.sign_in import account, steps

        own = [
            path("login/code/", steps.code_step, name="code_step"),
            path("account/", self.admin_view(account.overview), name="account"),
            path("account/second-factor/", self.admin_view(account.second_factor_page), name="second_factor"),
            path("account/sign-out/", self.admin_view(account.sign_out_everywhere), name="sign_out_everywhere"),
        ]
        return [*own, *(url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site")]

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The password; who has a second factor goes on to its code."""
        from imessage_hub.sign_in.steps import PasswordStep

        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        context = {
            **self.each_context(request),
            "title": "Sign in",
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
            context[REDIRECT_FIELD_NAME] = reverse("admin:index", current_app=self.name)
        request.current_app = self.name
        answer: Any = PasswordStep.as_view(extra_context=context)(request)
        return answer  # type: ignore[no-any-return]

    @method_decorator(never_cache)
    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """As Django's, which lets browsers keep the page."""
        return super().password_change(request, extra_context)

    @method_decorator(never_cache)
    def password_change_done(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """As Django's, which lets browsers keep the page."""
        return super().password_change_done(request, extra_context)

    def check(self, app_configs: Any) -> list[CheckMessage]:
        """Django's findings, and every registered admin that shows rows of all locations."""
        found: list[CheckMessage] = list(super().check(app_configs))
        for model, model_admin in self._registry.items():
            if not isinstance(model_admin, LocationScopedAdmin):
                found.append(
                    Error(
                        f"The admin of {model.__name__} is not scoped by location.",
                        hint="Derive it from a class of routing/scoped_admin.py.",
                        obj=type(model_admin),
                        id="hub.E010",
                    )
                )
        return found
