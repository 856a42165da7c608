"""The page behind the link of an invitation: public, and silent about every link that does not work."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import login
from django.contrib.auth.forms import UserCreationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from imessage_hub.sign_in.steps import BACKEND
from routing import invitations
from routing.errors import Refused
from routing.models import Invitation, Role, User
from routing.team_admin import ROLE_WORDS

INVITED = "hub_invitation"
"""The id of the invitation whose link was opened, in the session: the token stays in no address bar."""


class JoinForm(UserCreationForm):  # type: ignore[type-arg]
    """How somebody new is called, and their password."""

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email")
        error_messages = {"username": {"unique": "Choose another user name."}}
        labels = {"username": "User name", "email": "E-mail (may stay empty)"}
        help_texts = {"username": "You sign in with it."}


@never_cache
@require_safe
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Remembers the invitation and goes on to the page; looking at a link uses nothing up."""
    invitation = invitations.find_open(token=token, now=timezone.now())
    if invitation is None:
        return _closed(request)
    request.session[INVITED] = str(invitation.pk)
    return _quiet(HttpResponseRedirect(reverse("join")))


@sensitive_post_parameters("password1", "password2")
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """Shows what the invitation is for; lets somebody new choose a name and password, and others join by one click."""
    id = request.session.get(INVITED)  # noqa: A001
    invitation = invitations.find_open(id=id, now=timezone.now()) if id else None
    if invitation is None:
        return _closed(request)
    known = request.user if isinstance(request.user, User) else None
    form = None if known else JoinForm(request.POST if request.method == "POST" else None)
    try:
        if request.method == "POST" and (form is None or form.is_valid()):
            return _accept(request, invitation, known, form)
    except Refused as refused:
        if form is None or refused.code != "username_taken":
            return _closed(request)
        form.add_error("username", refused.detail)
    word, what = ROLE_WORDS[Role(invitation.role)]
    context = {"invitation": invitation, "role_word": word.lower(), "role_what": what, "form": form, "known": known}
    # No referrer policy of its own: without one browsers send a form without its origin, and it would be refused.
    return _page(request, "sign_in/join.html", f"Join {invitation.location.name}", context, status=200)


def _accept(request: HttpRequest, invitation: Invitation, known: User | None, form: JoinForm | None) -> HttpResponse:
    user = known
    if user is None:
        assert form is not None  # noqa: S101  (one of the two is there)
        user = form.save(commit=False)
        user.is_staff = True
    membership = invitations.accept_invitation(invitation=invitation, user=user, now=timezone.now())
    del request.session[INVITED]
    if known is None:
        login(request, user, backend=BACKEND)
    word = ROLE_WORDS[Role(membership.role)][0].lower()
    messages.success(request, f"Welcome to {invitation.location.name}. Your role here: {word}.")
    return HttpResponseRedirect(reverse("admin:index"))


def _closed(request: HttpRequest) -> HttpResponse:
    """The one answer to links that were never given, are used, withdrawn or expired."""
    return _quiet(_page(request, "sign_in/closed.html", "This link does not work", {}, status=404))


def _page(request: HttpRequest, template: str, title: str, context: dict[str, Any], *, status: int) -> HttpResponse:
    site = {"site_header": admin.site.site_header, "site_title": admin.site.site_title}
    return TemplateResponse(request, template, {**site, "title": title, **context}, status=status)


def _quiet(answer: HttpResponse) -> HttpResponse:
    """Nothing that is linked from here learns the address; and all links that do not work have the same headers."""
    patch_vary_headers(answer, ["Cookie"])
    answer["Referrer-Policy"] = "no-referrer"
    return answer
