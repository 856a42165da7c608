"""The pictures and files of messages, for the pages of the admin that show them."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import quote, unquote
from django.http import FileResponse, Http404, HttpRequest
from django.urls import URLPattern, path, reverse

from messaging.models import Attachment, Direction, Message

# What a browser may show of a stranger's file; anything else is only handed out as a download.
SHOWN_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class AttachmentPages(ModelAdmin):  # type: ignore[type-arg]
    """A door to each picture and file of the messages that the user may see."""

    def get_urls(self) -> list[URLPattern]:
        """Before Django's, which would take any path for an id."""
        door = self.admin_site.admin_view(self.attachment_view)
        return [
            path("<path:object_id>/attachment/<int:order>/", door, name="messaging_message_attachment"),
            *super().get_urls(),
        ]

    def attachment_view(self, request: HttpRequest, object_id: str, order: int) -> FileResponse:
        """A picture or file as it was fetched. Raises Http404 when there is none that the user may see."""
        message = self.get_object(request, unquote(object_id))
        attachment = None if message is None else message.attachments.filter(order=order).first()
        if attachment is None or not attachment.file:
            raise Http404
        shown = attachment.content_type in SHOWN_PICTURES
        try:
            content = attachment.file.open("rb")
        except FileNotFoundError as error:
            raise Http404 from error
        return FileResponse(
            content,
            as_attachment=not shown,
            filename=f"attachment-{order + 1}",
            content_type=attachment.content_type if shown else "application/octet-stream",
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"},
        )


def attachment_row(message: Message, attachment: Attachment) -> dict[str, Any]:
    """How a page shows it: as a picture, as a link to its file, or as the link or problem that it is."""
    url = ""
    if attachment.file:
        url = reverse("admin:messaging_message_attachment", args=[quote(message.pk), attachment.order])
    return {
        "name": str(attachment),
        "url": url,
        "shown": bool(url) and attachment.content_type in SHOWN_PICTURES,
        "link": attachment.url if message.direction == Direction.OUTBOUND else "",
        "type": attachment.content_type,
        "problem": attachment.problem,
    }
