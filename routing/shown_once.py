"""Things that are made by a form and shown once: API keys, links of invitations. A form sent twice makes one."""

import uuid
from typing import Any, ClassVar

from django import forms
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from routing.admin_operations import OperationsAdmin, refuse
from routing.errors import Refused
from routing.models import User
from routing.scoped_admin import ReadOnlyAdmin, may, user_of

SALT = "routing.shown_once"


class OnceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Carries the id of what it will make, signed, so that a second sending finds the first one's."""

    form_id = forms.CharField(widget=forms.HiddenInput, required=False, label="")

    def clean_form_id(self) -> uuid.UUID | None:
        """The id; None for a form that carries none. Raises ValidationError for one that we did not give."""
        given = self.cleaned_data["form_id"]
        try:
            return uuid.UUID(signing.loads(given, salt=SALT)) if given else None
        except (signing.BadSignature, ValueError, TypeError):
            raise forms.ValidationError("Open this page again.") from None


class ShownOnceAdmin(OperationsAdmin, ReadOnlyAdmin):
    """Makes a row with a secret and shows the secret on the answer itself: a message would carry it through a cookie.

    Sent again, by a reload or a second click, the form makes nothing and leads to what it made.
    """

    made_template: ClassVar[str]
    submit_words: ClassVar[str]
    new_words: ClassVar[str]

    def make(self, user: User, data: dict[str, Any], id: uuid.UUID | None) -> tuple[Any, str]:  # noqa: A002
        """The new row and its secret. Raises Refused."""
        raise NotImplementedError

    def shown(self, request: HttpRequest, row: Any, secret: str) -> dict[str, Any]:
        """What the page that shows the secret needs to know."""
        raise NotImplementedError

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Asks, makes, shows."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form_class = self.get_form(request)
        initial = self.get_changeform_initial_data(request) | {"form_id": signing.dumps(str(uuid.uuid4()), salt=SALT)}
        form: Any = form_class(request.POST) if request.method == "POST" else form_class(initial=initial)
        form.fields["location"].required = not user_of(request).is_superuser or self._needs_location()
        if request.method == "POST" and form.is_valid():
            answer = self._made(request, form)
            if answer is not None:
                return answer
        return self.form_page(request, title=self.new_words, form=form, submit=self.submit_words)

    def _needs_location(self) -> bool:
        return not self.opts.get_field("location").null

    def _made(self, request: HttpRequest, form: Any) -> HttpResponse | None:
        data = dict(form.cleaned_data)
        location, form_id = data["location"], data.pop("form_id")
        if not may(user_of(request), self.add_by, location.pk if location else None):
            raise PermissionDenied
        try:
            row, secret = self.make(user_of(request), data, form_id)
        except Refused as refused:
            if refused.code == "made_already":
                return self._sent_before(request, form_id)
            refuse(form, refused)
            return None
        self.log_addition(request, row, "Made.")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "secret": secret,
            "url": self.page_of(row),
            **self.shown(request, row, secret),
        }
        return TemplateResponse(request, self.made_template, context)

    def _sent_before(self, request: HttpRequest, form_id: uuid.UUID) -> HttpResponse:
        made: Model | None = self.get_queryset(request).filter(pk=form_id).first()
        self.message_user(request, "This form was sent before. What it made was shown then, and is not shown again.")
        return HttpResponseRedirect(self.list_url() if made is None else self.page_of(made))
