"""Signing in: the password, then the code of who has a second factor. Nobody is signed in before both were right."""

import time
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from imessage_hub.sign_in import attempts, second_factor
from imessage_hub.sign_in.sessions import VERIFIED
from routing.models import User

PENDING = "hub_code_step"
"""Kept in the session between the two steps."""

CODE_WITHIN_S = 10 * 60

BACKEND = "django.contrib.auth.backends.ModelBackend"


class SignInForm(AdminAuthenticationForm):
    """User name and password; whoever is locked out is told for how long, whether the user exists or not."""

    def get_invalid_login_error(self) -> ValidationError:
        """The refusal: wrong, or locked out."""
        request: Any = self.request
        if getattr(request, "axes_locked_out", False):
            words = attempts.locked_words(request, {"username": self.cleaned_data.get("username", "")})
            return ValidationError(words, code="locked")
        return super().get_invalid_login_error()

    def confirm_login_allowed(self, user: Any) -> None:
        """Refuses who may not enter the admin, and counts it: a right password must not show by never locking."""
        try:
            super().confirm_login_allowed(user)
        except ValidationError as refusal:
            if self.request is not None and attempts.note_failure(self.request, user.get_username()):
                raise self.get_invalid_login_error() from None
            raise refusal


class PasswordStep(LoginView):
    """Django's view; who has a second factor goes on to the code."""

    form_class = SignInForm
    template_name = "admin/login.html"

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in, or ask for the code."""
        user = form.get_user()
        if not second_factor.has_one(user):
            return super().form_valid(form)
        self.request.session[PENDING] = {
            "user": str(user.pk),
            "hash": user.get_session_auth_hash(),
            "at": int(time.time()),
            "next": self.get_success_url(),
        }
        return HttpResponseRedirect(reverse("admin:code_step"))


class CodeForm(forms.Form):
    """A code of the app, or a recovery code."""

    code = forms.CharField(
        max_length=20,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "class": "hub-code", "spellcheck": "false"}
        ),
    )


@sensitive_post_parameters("code")
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def code_step(request: HttpRequest) -> HttpResponse:
    """Asks for the code and signs in when it is right."""
    pending = request.session.get(PENDING)
    user = _pending_user(pending)
    if pending is None or user is None:
        request.session.pop(PENDING, None)
        return HttpResponseRedirect(reverse("admin:login"))
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and check_code(request, user, form):
        del request.session[PENDING]
        login(request, user, backend=BACKEND)
        request.session[VERIFIED] = True
        return HttpResponseRedirect(pending["next"])
    context = {**admin.site.each_context(request), "title": "Second factor", "form": form}
    return TemplateResponse(request, "sign_in/code.html", context)


def check_code(request: HttpRequest, user: User, form: forms.Form) -> bool:
    """Whether the form's code is right; a wrong one is counted and told in the form, like a wrong password."""
    if attempts.is_locked(request, user):
        form.add_error("code", attempts.locked_words(request, {"username": user.get_username()}))
        return False
    if second_factor.verify(user=user, code=form.cleaned_data["code"], now=timezone.now()):
        return True
    if attempts.note_failure(request, user.get_username()):
        form.add_error("code", attempts.locked_words(request, {"username": user.get_username()}))
    else:
        form.add_error("code", "This code is not right, or was used before. Wait for the next one and try again.")
    return False


def _pending_user(pending: Any) -> User | None:
    """Who gave the right password just now; None when that was too long ago, or no longer is the password."""
    if not isinstance(pending, dict) or time.time() - pending["at"] > CODE_WITHIN_S:
        return None
    user = User.objects.filter(pk=pending["user"], is_active=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), pending["hash"]):
        return None
    return user
