"""The page on which a person changes a message before it leaves."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from messaging import composer, editing
from messaging.editing import Change
from messaging.message_doors import edit_url, is_editable_now
from messaging.message_page import conversation_url, title_of
from messaging.models import Message
from routing.admin_look import zone_of
from routing.admin_operations import OperationsAdmin, refuse
from routing.errors import Refused
from routing.models import Role
from routing.scoped_admin import LocalMoment, may, user_of

TOO_EARLY = "By then the message could not have left yet: choose a later time, or leave this empty."


class ChangeForm(forms.Form):
    """Text and times, on the clocks of the message's location."""

    text = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "class": "vLargeTextField"}),
        help_text="{IM#2} or {TEMP-IM#2} in it chooses another number; without one, the choice made before stays.",
    )
    scheduled_at = forms.DateTimeField(
        required=False, label="Send at", widget=LocalMoment, help_text="Nothing here: as soon as it may leave."
    )
    expires_at = forms.DateTimeField(
        required=False, label="Not after", widget=LocalMoment, help_text="Nothing here: 24 hours after it is due."
    )

    def __init__(self, message: Message, *args: Any, **kwargs: Any) -> None:
        kwargs["initial"] = {
            "text": message.text,
            "scheduled_at": _to_the_minute(message.scheduled_at),
            "expires_at": _to_the_minute(message.expires_at) if message.expiry_given else None,
        }
        super().__init__(*args, **kwargs)
        self.message = message
        zone = message.location.time_zone
        for name in ("scheduled_at", "expires_at"):
            self.fields[name].help_text += f" By the clocks of {zone.replace('_', ' ')}."

    def change(self) -> Change:
        """What is to be changed, once the form was found valid: of the times, those that somebody touched."""
        given: dict[str, Any] = {
            name: self.cleaned_data[name] for name in ("scheduled_at", "expires_at") if name in self.changed_data
        }
        text = composer.cleaned(self.cleaned_data["text"])
        return Change(**given) if text == self.message.text else Change(text=text, **given)


class ChangePages(OperationsAdmin):
    """The page that changes a message, and the way back from there, and from cancelling it, to its conversation."""

    def get_urls(self) -> list[URLPattern]:
        """Before Django's, which would take any path for an id."""
        door = self.admin_site.admin_view(self.edit_view)
        return [path("<path:object_id>/edit/", door, name="messaging_message_edit"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """With the button that leads here, while it can be changed."""
        message = context.get("original")
        response = super().render_change_form(request, context, *args, **kwargs)
        if message is not None and self._may_change(request, message) and is_editable_now(message):
            door = {"label": "Change", "url": edit_url(message), "asks": True, "danger": False}
            response.context_data["operations"].insert(0, door)
        return response

    def operation_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """As for any; one that was asked for in a conversation leads back there."""
        response = super().operation_view(request, object_id, name)
        if request.GET.get("from") != "conversation" or not isinstance(response, HttpResponseRedirect):
            return response
        message = self.get_object(request, unquote(object_id))
        return HttpResponseRedirect(self._back(request, message)) if message is not None else response

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks what to change, and changes it. Raises Http404 for messages of other locations as for those that are
        not there."""
        message: Message | None = self.get_object(request, unquote(object_id))
        if message is None:
            raise Http404
        if not self._may_change(request, message):
            raise PermissionDenied
        back = self._back(request, message)
        if not is_editable_now(message):
            self.message_user(request, editing.not_editable().detail, messages.WARNING)
            return HttpResponseRedirect(back)
        with timezone.override(zone_of(message.location)):
            form = ChangeForm(message, request.POST if request.method == "POST" else None)
            if request.method == "POST" and form.is_valid() and self._changed(request, message, form):
                return HttpResponseRedirect(back)
            page = self.form_page(
                request, title=f"Change: {title_of(message)}", form=form, submit="Save the change", obj=message
            )
            if isinstance(page, TemplateResponse):
                page.context_data = (page.context_data or {}) | {"back": back}
                # Here, where the clocks are those of the location.
                page.render()
        return page

    def _changed(self, request: HttpRequest, message: Message, form: ChangeForm) -> bool:
        try:
            editing.edit(message=message, change=form.change(), by=user_of(request), now=timezone.now())
        except Refused as refused:
            if refused.code == "not_editable":
                self.message_user(request, refused.detail, messages.WARNING)
                return True
            words = TOO_EARLY if refused.code == "expires_before_due" else composer.said_to_people(refused)
            refuse(form, Refused(refused.code, words, field=refused.field))
            return False
        self.message_user(request, "Changed.", messages.SUCCESS)
        return True

    def _may_change(self, request: HttpRequest, message: Message) -> bool:
        return may(user_of(request), Role.AGENT, message.location_id)

    def _back(self, request: HttpRequest, message: Message) -> str:
        if request.GET.get("from") == "conversation":
            return conversation_url(message) or self.page_of(message)
        return self.page_of(message)


def _to_the_minute(moment: datetime | None) -> datetime | None:
    """As the browser's picker shows it, so that what nobody touched is not taken for a change."""
    return None if moment is None else moment.replace(second=0, microsecond=0)
