"""Where a message that waits is changed and cancelled."""

from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.urls import reverse
from django.utils import timezone

from messaging.editing import is_editable
from messaging.models import Message


def is_editable_now(message: Message) -> bool:
    """Whether it can be changed at this moment."""
    return is_editable(message, now=timezone.now())


def edit_url(message: Message) -> str:
    """Where the message is changed."""
    return reverse("admin:messaging_message_edit", args=[quote(message.pk)])


def doors_of(message: Message) -> dict[str, str]:
    """From its conversation, and back there: where what waits is changed, "" when it cannot be, and cancelled."""
    way_back = urlencode({"from": "conversation"})
    cancel = reverse("admin:messaging_message_operation", args=[quote(message.pk), "cancel"])
    return {
        "edit": f"{edit_url(message)}?{way_back}" if is_editable_now(message) else "",
        "cancel": f"{cancel}?{way_back}",
    }
