"""The audit trail: who changed what, when. One function writes it; nothing changes it afterwards."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Model

from routing.models import ApiKey, AuditAction, AuditEntry, User

THE_HUB = "iMessage Hub"
"""The actor of what nobody asked for: a line that was assigned, a key that was rejected."""

PROGRAM = "API key "
"""How the name of an actor begins that is a program."""

Changes = Mapping[str, tuple[str, str] | None]
"""Field → (what it was, what it is); None where the values are secret or about a person outside the hub."""


def record(
    *,
    by: User | ApiKey | None,
    action: AuditAction,
    obj: Model,
    location_id: UUID | None,
    name: str = "",
    detail: str = "",
    changes: Changes | None = None,
) -> AuditEntry:
    """Write down one change, in the caller's transaction. `by` None: the hub itself.

    `name` is how the object is called in the trail, its own words by default; neither it nor `detail` nor a value in
    `changes` may hold a secret, the text of a message, or a contact's name or number.
    """
    return AuditEntry.objects.create(
        location_id=location_id,
        user=by if isinstance(by, User) else None,
        api_key=by if isinstance(by, ApiKey) else None,
        actor=actor_name(by),
        action=action,
        object_type=obj._meta.label_lower,
        object_id=str(obj.pk),
        object_name=(name or str(obj))[:200],
        detail=detail,
        changes={field: None if values is None else list(values) for field, values in (changes or {}).items()},
    )


def actor_name(by: User | ApiKey | None) -> str:
    """How the trail calls whoever did it."""
    if by is None:
        return THE_HUB
    return f"{PROGRAM}{by.name}"[:200] if isinstance(by, ApiKey) else by.get_username()


def shown(value: Any) -> str:
    """A value as the trail keeps it: a short text; "" for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)[:200]
