"""Invitations: made, looked up by their token, accepted by one person, withdrawn."""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from routing import audit
from routing.errors import Refused
from routing.models import AuditAction, Invitation, Location, Membership, Role, User
from routing.services import made_once

VALID_FOR = timedelta(days=7)


def token_digest(token: str) -> str:
    """What is kept of a token: its SHA-256; the token itself is 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def create_invitation(
    *,
    location: Location,
    name: str,
    role: Role,
    by: User,
    can_set_default: bool = False,
    valid_for: timedelta = VALID_FOR,
    id: UUID | None = None,  # noqa: A002
) -> tuple[Invitation, str]:
    """A new invitation and, this once, the token of its link.

    `id`, if given, is the row's. Raises Refused("made_already", 409) when there is an invitation with it.
    """
    token = secrets.token_urlsafe(32)
    row = made_once(
        Invitation,
        id,
        location=location,
        name=name,
        role=role,
        can_set_default=can_set_default,
        token_digest=token_digest(token),
        created_by=by,
        expires_at=timezone.now() + valid_for,
    )
    return row, token


def find_open(*, token: str | None = None, id: str | None = None, now: datetime) -> Invitation | None:  # noqa: A002
    """The invitation of the link, or with the id, if it can be accepted at `now`; the same None for all others."""
    which = {"token_digest": token_digest(token)} if token is not None else {"pk": id}
    found = Invitation.objects.open(now).filter(**which).select_related("location", "created_by").first()
    return found if found is not None and _inviter_may_still(found) else None


def _inviter_may_still(invitation: Invitation) -> bool:
    """Whether who invited may do so today: somebody who left, or was demoted, lets nobody in."""
    if invitation.created_by_id is None:
        return False
    inviter = User.objects.filter(pk=invitation.created_by_id, is_active=True).first()
    return inviter is not None and inviter.may(Role.ADMIN, invitation.location_id)


@transaction.atomic
def accept_invitation(*, invitation: Invitation, user: User, now: datetime) -> Membership:
    """Make the user a member as the invitation says; of all who accept at the same moment one succeeds.

    A user without a row yet is saved here, so that nobody is left over when somebody else was first. Who is a member
    already keeps what they have and gains what the invitation adds: the higher of both roles. Raises
    Refused("invitation_closed", 404), and Refused("username_taken") for a new user whose name is somebody's.
    """
    if user._state.adding:
        _save_new(user)
    open_still = _inviter_may_still(invitation)
    taken = open_still and Invitation.objects.open(now).filter(pk=invitation.pk).update(
        accepted_at=now, accepted_by=user
    )
    if not taken:
        raise Refused("invitation_closed", "This invitation no longer works. Ask for a new one.", status=404)
    membership, is_new = Membership.objects.get_or_create(
        location_id=invitation.location_id,
        user=user,
        defaults={"role": invitation.role, "can_set_default": invitation.can_set_default},
    )
    before = membership.role
    if not is_new:
        # Read again under its lock: its role may be changed at this moment.
        membership = Membership.objects.select_for_update().get(pk=membership.pk)
        before = membership.role
        membership.role = max(Role(membership.role), Role(invitation.role), key=lambda role: role.rank)
        membership.can_set_default = membership.can_set_default or invitation.can_set_default
        membership.save(update_fields=["role", "can_set_default"])
    _record(invitation, membership, user, before="" if is_new else before)
    return membership


def withdraw_invitation(*, invitation: Invitation, now: datetime) -> None:
    """Make the link useless. Raises Refused("invitation_closed", 409) when it is already."""
    if not Invitation.objects.open(now).filter(pk=invitation.pk).update(withdrawn_at=now):
        raise Refused("invitation_closed", "This invitation was accepted, withdrawn or has expired.", status=409)


def _save_new(user: User) -> None:
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise Refused("username_taken", "Choose another user name.", status=409, field="username") from None


def _record(invitation: Invitation, membership: Membership, user: User, *, before: str) -> None:
    location_id = invitation.location_id
    audit.record(by=user, action=AuditAction.CHANGED, obj=invitation, location_id=location_id, detail="Accepted.")
    audit.record(
        by=user,
        action=AuditAction.CHANGED if before else AuditAction.CREATED,
        obj=membership,
        location_id=location_id,
        detail="Joined by invitation.",
        changes={"role": (before, membership.role)},
    )
