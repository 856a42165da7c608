"""The desk in the admin: what nobody knows about, its evidence, and the two decisions."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from messaging.desk import MAX_REASON_LENGTH, send_again, settle_as_sent
from messaging.desk_evidence import Case, cases, uncertain_messages
from messaging.message_page import title_of
from messaging.message_words import account_token
from messaging.models import DispatchState, Message
from routing.admin_operations import Operation, OperationsAdmin
from routing.models import Role, User
from routing.scoped_admin import may, user_of

PER_PAGE = 10
MAX_PAGE = 1000
FROM_DESK = {"from": "desk"}


class ReasonForm(forms.Form):
    """Why; for the audit trail."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        label="Reason (optional)",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Kept in the audit trail. No names, numbers or words of the message, please.",
    )


def _settle(user: User, message: Message, data: dict[str, Any]) -> str:
    return settle_as_sent(message=message, by=user, reason=data["reason"])


def _send_again(user: User, message: Message, data: dict[str, Any]) -> str:
    return send_again(message=message, by=user, reason=data["reason"])


def is_uncertain(message: Message) -> bool:
    """Whether a person may decide about it."""
    return message.dispatch_state == DispatchState.UNCERTAIN


DESK_OPERATIONS = (
    Operation(
        name="settle",
        label="It was sent",
        run=_settle,
        by=Role.AGENT,
        shown=is_uncertain,
        question="It then counts as sent, and is never sent again. What the provider still tells of it is added.",
        form=ReasonForm,
        audited=True,
    ),
    Operation(
        name="send-again",
        label="Send again",
        run=_send_again,
        by=Role.AGENT,
        shown=is_uncertain,
        question=(
            "The person may get this text twice: it may have been sent the first time. Look at their phone or ask them"
            " before you send it again."
        ),
        form=ReasonForm,
        danger=True,
        audited=True,
    ),
)


class DeskPages(OperationsAdmin):
    """The desk, and the way back to it from its operations."""

    def get_urls(self) -> list[URLPattern]:
        """Before Django's, which would take any path for an id."""
        desk = path("desk/", self.admin_site.admin_view(self.desk_view), name="messaging_message_desk")
        return [desk, *super().get_urls()]

    @method_decorator(require_safe)
    def desk_view(self, request: HttpRequest) -> HttpResponse:
        """The uncertain messages with their evidence, the longest uncertain first, a page at a time."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        user = user_of(request)
        page = _page_number(request.GET.get("page", ""))
        begin = (page - 1) * PER_PAGE
        found = cases(uncertain_messages(user), begin=begin, end=begin + PER_PAGE + 1)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Desk",
            "items": [self._item(user, case) for case in found[:PER_PAGE]],
            "earlier": page - 1,
            "later": page + 1 if len(found) > PER_PAGE and page < MAX_PAGE else 0,
        }
        return TemplateResponse(request, "admin/messaging/message/desk.html", context)

    def _item(self, user: User, case: Case) -> dict[str, Any]:
        doors = {}
        if may(user, Role.AGENT, case.message.location_id):
            name, pk = "admin:messaging_message_operation", quote(case.message.pk)
            doors = {
                "settle": f"{reverse(name, args=[pk, 'settle'])}?{urlencode(FROM_DESK)}",
                "again": f"{reverse(name, args=[pk, 'send-again'])}?{urlencode(FROM_DESK)}",
            }
        return {
            "case": case,
            "message": case.message,
            "doors": doors,
            "account": account_token(case.message.account),
            "url": self.page_of(case.message),
        }

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """As for every object; a decision about an uncertain message says what it is now when it came too late, shows
        the message, and leads back to the desk where it came from there."""
        if name not in {operation.name for operation in DESK_OPERATIONS}:
            return super().operation_view(request, object_id, name)
        message = self.get_object(request, unquote(object_id))
        back = reverse("admin:messaging_message_desk") if request.GET.get("from") == "desk" else ""
        if message is not None and not is_uncertain(message) and may(user_of(request), Role.AGENT, message.location_id):
            words = f"Nothing was done: the message is not uncertain any more, it is {message.status} now."
            self.message_user(request, words, messages.WARNING)
            return HttpResponseRedirect(back or self.page_of(message))
        response = super().operation_view(request, object_id, name)
        if isinstance(response, TemplateResponse) and message is not None:
            response.template_name = "admin/messaging/message/decide.html"
            context = response.context_data or {}
            context["message"] = message
            context["account"] = account_token(message.account)
            context["back"] = back or context["back"]
            context["back_words"] = "Desk" if back else title_of(message)
            context["title"] = f"{context['submit']}: {title_of(message)}"
        elif isinstance(response, HttpResponseRedirect) and back:
            return HttpResponseRedirect(back)
        return response


def _page_number(text: str) -> int:
    """The page asked for; the first for anything odd."""
    return min(max(int(text), 1), MAX_PAGE) if text.isascii() and text.isdigit() and len(text) < 6 else 1
