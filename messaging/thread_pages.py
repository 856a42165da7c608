"""The pages of one conversation: to read it, to follow it live, to look ahead, to send, to try again."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from messaging import composer, conversation, threads
from messaging.models import Message, Thread
from routing.errors import Refused
from routing.scoped_admin import user_of

FRAGMENT = "X-Hub-Fragment"
"""A request with this header is answered with the part of the page that changed; without it with a page."""


class ThreadPages(ModelAdmin):  # type: ignore[type-arg]
    """The doors of one conversation. Its admin says who sees which (`get_object`) and who may answer (`may_write`)."""

    def get_urls(self) -> list[URLPattern]:
        """Before Django's, which would take any path for an id."""
        doors = {"live": self.live_view, "preview": self.preview_view, "send": self.send_view}
        return [
            *(
                path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"messaging_thread_{name}")
                for name, view in doors.items()
            ),
            path(
                "<path:object_id>/again/<uuid:message_id>/",
                self.admin_site.admin_view(self.again_view),
                name="messaging_thread_again",
            ),
            *super().get_urls(),
        ]

    def may_write(self, request: HttpRequest, thread: Thread) -> bool:
        """Whether the user may answer in this conversation."""
        raise NotImplementedError

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The conversation; looking at it is what makes it read, where whoever looks may answer."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        thread: Thread | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, thread):
            raise PermissionDenied
        if thread is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return, attr-defined]
        self._look_at(request, thread)
        return self._page(request, thread)

    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What a page that is open shows from now on; 204 while that is what it shows already (`v`)."""
        thread = self._thread(request, object_id)
        before = _position(request)
        if before is None:
            self._look_at(request, thread)
        shown = conversation.window(thread.contact, before=before)
        if before is None and request.GET.get("v") == shown.version:
            return HttpResponse(status=HTTPStatus.NO_CONTENT)
        return self._fragment(request, thread, shown)

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Where what is typed would leave from, and why."""
        thread = self._answering(request, object_id)
        if isinstance(thread, HttpResponse):
            return thread
        outlook = composer.look_ahead(contact=thread.contact, text=request.POST.get("text", ""))
        return TemplateResponse(request, "admin/messaging/thread/outlook.html", {"outlook": outlook})

    def send_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Sends what was written, once."""
        thread = self._answering(request, object_id)
        if isinstance(thread, HttpResponse):
            return thread
        text = request.POST.get("text", "")
        try:
            composer.send(
                contact=thread.contact,
                by=user_of(request),
                text=text,
                token=request.POST.get("token", ""),
                later=request.POST.get("scheduled_at", ""),
                picture=request.FILES.get("picture"),
            )
        except Refused as refused:
            if FRAGMENT in request.headers:
                return self._refusal(request, refused)
            return self._page(request, thread, text=text, later=request.POST.get("scheduled_at", ""), refused=refused)
        return self._sent(request, thread)

    def again_view(self, request: HttpRequest, object_id: str, message_id: Any) -> HttpResponse:
        """Sends a message that failed once more."""
        thread = self._answering(request, object_id)
        if isinstance(thread, HttpResponse):
            return thread
        message = Message.objects.filter(contact=thread.contact_id, pk=message_id).first()
        if message is None:
            raise Http404
        message.contact = thread.contact
        try:
            if not composer.try_again(message=message, by=user_of(request)):
                raise Refused("tried_already", "This was tried again already: look further down.", status=409)
        except Refused as refused:
            if FRAGMENT in request.headers:
                return self._refusal(request, refused)
            self.message_user(request, refused.detail, messages.WARNING)
        return self._sent(request, thread)

    # --- parts --------------------------------------------------------------------------------------------------------

    def _thread(self, request: HttpRequest, object_id: str) -> Thread:
        thread: Thread | None = self.get_object(request, unquote(object_id))
        if thread is None or not self.has_view_permission(request, thread):
            raise Http404
        return thread

    def _answering(self, request: HttpRequest, object_id: str) -> Thread | HttpResponse:
        """The thread, for who may answer in it; or the answer for who only asks. Raises PermissionDenied, Http404."""
        thread = self._thread(request, object_id)
        if not self.may_write(request, thread):
            raise PermissionDenied
        return thread if request.method == "POST" else HttpResponseNotAllowed(["POST"])

    def _look_at(self, request: HttpRequest, thread: Thread) -> None:
        if thread.unread_count and self.may_write(request, thread):
            threads.mark_seen(contact_id=thread.contact_id)

    def _sent(self, request: HttpRequest, thread: Thread) -> HttpResponse:
        if FRAGMENT in request.headers:
            return self._fragment(request, thread, conversation.window(thread.contact))
        return HttpResponseRedirect(self._door(thread, "change"))

    def _refusal(self, request: HttpRequest, refused: Refused) -> HttpResponse:
        context = {"refused": refused, "detail": composer.said_to_people(refused), "token": composer.new_token()}
        return TemplateResponse(request, "admin/messaging/thread/refused.html", context, status=refused.status)

    def _fragment(self, request: HttpRequest, thread: Thread, shown: conversation.Window) -> HttpResponse:
        context = self._shown(request, thread, shown) | {"token": composer.new_token()}
        return TemplateResponse(request, "admin/messaging/thread/window.html", context)

    def _shown(self, request: HttpRequest, thread: Thread, shown: conversation.Window) -> dict[str, Any]:
        return {
            "thread": thread,
            "contact": thread.contact,
            "window": shown,
            "bubbles": conversation.bubbles(thread.contact, shown),
            "may_write": self.may_write(request, thread),
            "page": self._door(thread, "change"),
            "before": _position(request),
        }

    def _page(
        self, request: HttpRequest, thread: Thread, *, text: str = "", later: str = "", refused: Refused | None = None
    ) -> HttpResponse:
        shown = conversation.window(thread.contact, before=_position(request))
        context = {
            **self.admin_site.each_context(request),
            **self._shown(request, thread, shown),
            "opts": self.opts,
            "original": thread,
            "title": str(thread.contact),
            "subtitle": None,
            "text": text,
            "later": later[:32],
            "zone": thread.contact.location.time_zone.replace("_", " "),
            "problem": "" if refused is None else composer.said_to_people(refused),
            "tags": [tag.name for tag in thread.contact.tags.all()],
            "doors": {name: self._door(thread, name) for name in ("live", "preview", "send")},
        }
        if context["may_write"]:
            context["token"] = composer.new_token()
            context["outlook"] = composer.look_ahead(contact=thread.contact, text=text)
        request.current_app = self.admin_site.name
        status = HTTPStatus.OK if refused is None else refused.status
        return TemplateResponse(request, "admin/messaging/thread/page.html", context, status=status)

    def _door(self, thread: Thread, name: str) -> str:
        return reverse(f"admin:messaging_thread_{name}", args=[quote(thread.contact_id)])


def _position(request: HttpRequest) -> int | None:
    """The cursor of an older page; None for the newest, also where it is none."""
    given = request.GET.get("before", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else None
