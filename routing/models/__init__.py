"""Who may send from what: locations and people, accounts, contacts and their tags."""

from routing.models.accounts import Account, LineState
from routing.models.contacts import Contact, ContactTag, Tag
from routing.models.tenancy import ApiKey, Location, Membership, Role, Unavailable, User

__all__ = [
    "Account",
    "ApiKey",
    "Contact",
    "ContactTag",
    "LineState",
    "Location",
    "Membership",
    "Role",
    "Tag",
    "Unavailable",
    "User",
]
