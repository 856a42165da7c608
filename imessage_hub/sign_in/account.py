"""One's own account: name, e-mail, password, second factor, sessions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from imessage_hub.sign_in import second_factor
from imessage_hub.sign_in.sessions import STARTED, VERIFIED
from imessage_hub.sign_in.steps import CodeForm, check_code
from routing import team
from routing.errors import Refused
from routing.models import User
from routing.scoped_admin import user_of

WAITING = "second_factor_waiting"
"""In the session: the id of the device that it began to set up."""


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    """How the person is called and reached."""

    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})


@require_http_methods(["GET", "HEAD", "POST"])
def overview(request: HttpRequest) -> HttpResponse:
    """The page of everything about oneself."""
    user = user_of(request)
    form = PersonForm(request.POST if request.method == "POST" else None, instance=User.objects.get(pk=user.pk))
    if form.is_valid():
        User.objects.filter(pk=user.pk).update(**form.cleaned_data)
        messages.success(request, "Saved.")
        return HttpResponseRedirect(reverse("admin:account"))
    started = datetime.fromtimestamp(request.session[STARTED], tz=UTC)
    return _page(
        request,
        "sign_in/account.html",
        "Your account",
        form=form,
        is_on=second_factor.has_one(user),
        demanded=second_factor.is_demanded(user),
        codes_left=second_factor.codes_left(user),
        started=started,
        ends=started + timedelta(seconds=settings.SESSION_COOKIE_AGE),
        idle_min=f"{settings.HUB_SESSION_IDLE.total_seconds() / 60:g}",
    )


@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every session of the user's, this one too."""
    team.end_sessions(user_of(request))
    logout(request)
    messages.success(request, "You are signed out everywhere.")
    return HttpResponseRedirect(reverse("admin:login"))


@require_http_methods(["GET", "HEAD", "POST"])
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """Sets the second factor up, or manages the one that is there."""
    user = user_of(request)
    form = CodeForm(request.POST if request.method == "POST" else None)
    return _manage(request, user, form) if second_factor.has_one(user) else _set_up(request, user, form)


def _set_up(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    try:
        device = second_factor.begin(user, waiting=request.session.get(WAITING))
    except Refused as refused:
        messages.info(request, refused.detail)
        return HttpResponseRedirect(reverse("admin:account"))
    request.session[WAITING] = device.pk
    if form.is_valid():
        codes = second_factor.confirm(user=user, waiting=device.pk, code=form.cleaned_data["code"])
        if codes is not None:
            del request.session[WAITING]
            request.session[VERIFIED] = True
            update_session_auth_hash(request, user)  # this session goes on where all others of the user ended
            return _page(request, "sign_in/recovery_codes.html", "Your recovery codes", codes=codes, is_new=True)
        form.add_error("code", "This code is not right. Wait for the next one and try again.")
    return _page(
        request,
        "sign_in/second_factor_set_up.html",
        "Set up your second factor",
        form=form,
        qr_code=second_factor.qr_code(device),
        key=second_factor.key_in_text(device),
        demanded=second_factor.is_demanded(user) and not request.session.get(VERIFIED),
    )


def _manage(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    if form.is_valid() and check_code(request, user, form):
        if request.POST.get("do") == "off":
            second_factor.turn_off(user=user, by=user)
            request.session.pop(VERIFIED, None)
            update_session_auth_hash(request, user)
            messages.success(request, "Your second factor is off, and you were signed out everywhere else.")
            return HttpResponseRedirect(reverse("admin:account"))
        codes = second_factor.renew_codes(user=user)
        return _page(request, "sign_in/recovery_codes.html", "Your recovery codes", codes=codes, is_new=False)
    return _page(
        request,
        "sign_in/second_factor.html",
        "Your second factor",
        form=form,
        codes_left=second_factor.codes_left(user),
    )
