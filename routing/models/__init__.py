"""Who may send from what: locations and people, accounts, contacts and their tags."""

from routing.models.accounts import Account, LineState
from routing.models.audit import AuditAction, AuditEntry
from routing.models.consent import ConsentChange, ConsentSource
from routing.models.contacts import Contact, ContactTag, Tag
from routing.models.invitations import Invitation
from routing.models.tenancy import ApiKey, Location, Membership, Role, SecondFactorPolicy, Unavailable, User

__all__ = [
    "Account",
    "ApiKey",
    "AuditAction",
    "AuditEntry",
    "ConsentChange",
    "ConsentSource",
    "Contact",
    "ContactTag",
    "Invitation",
    "LineState",
    "Location",
    "Membership",
    "Role",
    "SecondFactorPolicy",
    "Tag",
    "Unavailable",
    "User",
]
