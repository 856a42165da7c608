"""What a file of contacts is held against: the location's contacts, tags, members and numbers, fetched in batches."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from routing.contact_files import Sheet
from routing.contact_form import LocationNumbers
from routing.models import ConsentChange, Contact, ContactTag, Location, User
from routing.phones import InvalidPhone, parse_phone
from routing.scoped_admin import members_of
from routing.services import BATCH, batched


class ContactFacts:
    """The facts for one file. `lock`: the contacts' rows are locked until the end of the transaction."""

    def __init__(self, location: Location, sheet: Sheet, *, lock: bool = False) -> None:
        self.location = location
        self.numbers = LocationNumbers(location)
        members = list(members_of([location.pk]))
        self.usernames = [user.get_username() for user in members]
        self.users: dict[str, User] = {name.lower(): user for name, user in zip(self.usernames, members, strict=True)}
        self.users |= dict(zip(self.usernames, members, strict=True))
        self.parsed = _numbers_in(sheet, location.region)
        self.contacts: dict[str, Contact] = {}
        self.tags: dict[UUID, list[str]] = defaultdict(list)
        self.opted_out_by: dict[UUID, str] = {}
        self._load(sorted(set(self.parsed.values())), lock)

    def _load(self, numbers: Sequence[str], lock: bool) -> None:
        for batch in batched(numbers, BATCH):
            rows = Contact.objects.filter(location=self.location, phone_number__in=batch).order_by("pk")
            if lock:
                rows = rows.select_for_update(of=("self",))
            found = {contact.phone_number: contact for contact in rows.select_related("assigned_user")}
            self.contacts |= found
            ids = [contact.pk for contact in found.values()]
            tags = ContactTag.objects.filter(contact__in=ids).order_by("pk").values_list("contact", "tag__name")
            for contact_id, name in tags:
                self.tags[contact_id].append(name)
            out = [contact.pk for contact in found.values() if contact.opted_out]
            changes = ConsentChange.objects.filter(contact__in=out, opted_out=True).order_by("recorded_at", "pk")
            self.opted_out_by |= dict(changes.values_list("contact", "source"))


def _numbers_in(sheet: Sheet, region: str) -> dict[str, str]:
    """Number as typed → E.164, of those that are numbers."""
    parsed = {}
    for _, cells in sheet.rows:
        typed = cells["phone_number"].strip()
        if typed not in parsed:
            try:
                parsed[typed] = parse_phone(typed, region=region)
            except InvalidPhone:
                continue
    return parsed
