"""What a contact's page tells beyond its form: where a message would leave from, consent, the ways to what was said."""

from typing import Any

from django.db.models import Model
from django.urls import NoReverseMatch, reverse

from routing import facts
from routing.audit import THE_HUB
from routing.models import ConsentChange, ConsentSource, Contact
from routing.overrides import Override
from routing.selection import select

MAX_CHANGES = 50


def page_context(contact: Contact) -> dict[str, Any]:
    """For the template; in the same number of queries however much there is."""
    location = contact.location
    nothing_asked = Override()
    known = facts.load(location=location, contact=contact, override=nothing_asked)
    decision = select(known, nothing_asked, policy=facts.policy_of(location))
    changes = ConsentChange.objects.filter(contact=contact, location=location).select_related("user", "api_key")
    return {
        "decision": decision,
        "consent_changes": [(change, said_by(change)) for change in changes[:MAX_CHANGES]],
        "conversation_url": _conversation(contact),
        "messages_url": _url("admin:messaging_message_changelist", f"?contact__id__exact={contact.pk}"),
    }


def said_by(change: ConsentChange) -> str:
    """Who or what told us, in words."""
    if change.source == ConsentSource.MESSAGE:
        return "by the contact’s own message"
    how = {
        ConsentSource.PERSON: "in the admin",
        ConsentSource.API: "by API",
        ConsentSource.IMPORT: "by an import",
    }[ConsentSource(change.source)]
    who = change.user.get_username() if change.user else f"API key {change.api_key.name}" if change.api_key else THE_HUB
    return f"by {who}, {how}"


def _conversation(contact: Contact) -> str:
    """Where what was said stands; "" while nothing was."""
    thread: Model | None = getattr(contact, "thread", None)
    return "" if thread is None else _url("admin:messaging_thread_change", "", contact.pk)


def _url(name: str, query: str, *args: Any) -> str:
    try:
        return reverse(name, args=args) + query
    except NoReverseMatch:
        return ""
