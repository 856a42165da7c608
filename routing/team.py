"""Who works in a location: changes that must leave it with an admin, and the end of sessions."""

from uuid import UUID

from django.db.models import F
from django.utils import timezone

from routing.errors import Refused
from routing.models import Invitation, Location, Membership, Role, User


def check_leaves_admin(*, membership: Membership, role: Role | None, by: User) -> None:
    """Refuse to take the admin's role from the last active admin of a location; `role` None: the membership ends.

    Runs in the caller's transaction and holds the location's row lock until its end, so that two admins cannot demote
    each other at the same moment. Operators may. Raises Refused("last_admin", 409).
    """
    # NO KEY: who joins meanwhile refers to the row, and may hold an invitation that the caller is about to withdraw.
    Location.objects.select_for_update(no_key=True).get(pk=membership.location_id)
    if by.is_superuser or role == Role.ADMIN:
        return
    admins = Membership.objects.filter(location=membership.location_id, role=Role.ADMIN)
    # As it stands now, under the lock, and not as the page was drawn.
    if not admins.filter(pk=membership.pk).exists():
        return
    if not admins.filter(user__is_active=True).exclude(pk=membership.pk).exists():
        raise Refused(
            "last_admin",
            "This is the last admin of the location, and without one nobody could manage it. "
            "Make somebody else an admin first.",
            status=409,
            field="role",
        )


def withdraw_invitations_of(*, user_id: UUID, location_id: UUID) -> int:
    """Close the open invitations that somebody made for a location they no longer administer: a link kept back would
    let them in again. Returns how many there were."""
    now = timezone.now()
    made = Invitation.objects.open(now).filter(created_by=user_id, location=location_id)
    return made.update(withdrawn_at=now)


def end_sessions(user: User) -> None:
    """Sign the user out everywhere. Whoever calls it for the user's own session keeps that one by
    `update_session_auth_hash` afterwards."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    user.refresh_from_db(fields=["session_epoch"])
