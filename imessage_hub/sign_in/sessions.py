"""Sessions end: when nobody did anything for a while, after half a day, and when somebody's rights ask for more."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from imessage_hub.sign_in import second_factor
from routing.models import User

STARTED, SEEN, VERIFIED = "hub_started", "hub_seen", "hub_second_factor"
"""Kept in the session: when it began and was last used, in Unix seconds; whether a second factor was shown."""

SEEN_RESOLUTION_S = 60
"""A session is written at most this often, however many requests there are."""

BACKGROUND = "X-Hub-Background"
"""A page that asks by itself says so in this header: it keeps nobody signed in."""

OPEN_VIEWS = frozenset({"admin:second_factor", "admin:login", "admin:code_step", "admin:logout", "admin:jsi18n"})
"""What opens without the second factor that is asked for: the way to it, and the way out."""


@receiver(user_logged_in)
def begin(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Note when the session began."""
    request.session[STARTED] = request.session[SEEN] = int(time.time())


def lacks_second_factor(request: HttpRequest, user: User) -> bool:
    """Whether the session must show a second factor first; no query for whom nobody asks for one."""
    return not request.session.get(VERIFIED) and second_factor.is_demanded(user)


class SessionLimits:
    """Ends a session that nobody used for HUB_SESSION_IDLE, and any after SESSION_COOKIE_AGE."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Programs bring no cookie: their requests look at no session.
        if settings.SESSION_COOKIE_NAME in request.COOKIES and SESSION_KEY in request.session:
            self._look_at(request)
        return self.get_response(request)

    def _look_at(self, request: HttpRequest) -> None:
        now = int(time.time())
        started = request.session.setdefault(STARTED, now)
        seen = request.session.setdefault(SEEN, now)
        idle_s = settings.HUB_SESSION_IDLE.total_seconds()
        if now - started >= settings.SESSION_COOKIE_AGE:
            logout(request)
            messages.info(request, "You were signed in for half a day. Sign in again to go on.")
        elif now - seen >= idle_s:
            logout(request)
            messages.info(request, f"Nothing was done for {idle_s / 60:g} minutes, so you were signed out.")
        elif now - seen >= SEEN_RESOLUTION_S and BACKGROUND not in request.headers:
            request.session[SEEN] = now


class SecondFactorGate:
    """Leads whoever must have a second factor to setting one up, before any other page of the admin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        """The way there; None lets the request through."""
        match = request.resolver_match
        if (
            match is None
            or match.view_name in OPEN_VIEWS
            or not ("admin" in match.app_names or match.view_name == "docs")
        ):
            return None
        user = request.user
        if not isinstance(user, User) or not lacks_second_factor(request, user):
            return None
        if not second_factor.has_one(user):
            return HttpResponseRedirect(reverse("admin:second_factor"))
        # It was set up elsewhere meanwhile: this session never showed it.
        logout(request)
        messages.info(request, "Sign in again, with the code of your authenticator app.")
        return HttpResponseRedirect(reverse("admin:login"))
