"""What the templates say things with: the functions of `routing.admin_look`, and list rows that know their columns."""

from collections.abc import Iterator
from typing import Any

from django import template
from django.contrib.admin.templatetags import admin_list
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from routing import admin_look
from routing.audit import PROGRAM, THE_HUB
from routing.models import AuditEntry

register = template.Library()

register.simple_tag(admin_look.badge, name="badge")
register.simple_tag(admin_look.icon, name="icon")
register.simple_tag(admin_look.moment, name="moment")
register.filter("phone", admin_look.phone)


@register.inclusion_tag("admin/change_list_results.html")
def labelled_results(cl: Any) -> dict[str, Any]:
    """Django's list of results, where each cell carries the name of its column: on a phone a row is a card."""
    context: dict[str, Any] = dict(admin_list.result_list(cl))
    labels = [str(header["text"]) for header in context["result_headers"]]
    context["results"] = [list(_labelled(row, labels)) for row in context["results"]]
    return context


def _labelled(row: Any, labels: list[str]) -> Iterator[SafeString]:
    for cell, label in zip(row, labels, strict=True):
        word = "" if "action-checkbox" in cell else label.capitalize()
        tag, rest = cell[:3], cell[3:]  # <td or <th
        yield format_html('{} data-label="{}"{}', mark_safe(tag), word, mark_safe(rest))  # noqa: S308  (Django's own)


@register.filter
def actor_icon(entry: AuditEntry) -> str:
    """The icon of whoever did it: a person, a program, or the hub; of the deleted it goes by what they were called."""
    if entry.user_id is not None:
        return "user"
    if entry.api_key_id is not None or entry.actor.startswith(PROGRAM):
        return "key-round"
    return "refresh-cw" if entry.actor == THE_HUB else "user"


@register.filter
def field_words(name: str) -> str:
    """A field's name as words: tag_names → Tag names."""
    return name.replace("_", " ").capitalize()
