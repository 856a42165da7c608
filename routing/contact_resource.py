"""What a row of a file means for the contacts of one location: new, changed, unchanged, or wrong and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tablib
from django import forms
from import_export.fields import Field
from import_export.instance_loaders import BaseInstanceLoader
from import_export.resources import Resource
from import_export.results import RowResult
from import_export.widgets import Widget

from routing.contact_facts import ContactFacts
from routing.contact_files import COLUMNS, FORMULA, MAX_CELL, Sheet
from routing.contact_form import join_tags, split_tags
from routing.models import ConsentSource, Contact, User
from routing.phones import InvalidPhone, parse_phone

_YES = frozenset({"yes", "y", "true", "1", "opted out"})
_NO = frozenset({"no", "n", "false", "0", "opted in"})
_LONGEST_NAME = Contact._meta.get_field("name").max_length or 0
ROW = "row"
"""A column of our own: the row's number in the file."""


@dataclass
class Draft:
    """A contact as the row wants it. A value that is None stays as it is: the cell is empty, or has no column."""

    contact: Contact | None
    phone_number: str
    name: str | None = None
    tags: list[str] | None = None
    assigned_user: User | None = None
    opted_out: bool | None = None
    old_tags: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.phone_number

    @property
    def cells(self) -> dict[str, tuple[str, str]]:
        """Column → what it says now, and what it would say."""
        now = {"phone_number": "", "name": "", "tags": "", "assigned_user": "", "opted_out": ""}
        if self.contact is not None:
            now = shown(self.contact, self.old_tags)
        wanted = dict(now, phone_number=self.phone_number)
        if self.name is not None:
            wanted["name"] = self.name
        if self.tags is not None and set(self.tags) != set(self.old_tags):
            wanted["tags"] = join_tags(self.tags)
        if self.assigned_user is not None:
            wanted["assigned_user"] = self.assigned_user.get_username()
        if self.opted_out is not None or self.contact is None:
            wanted["opted_out"] = "yes" if self.opted_out else "no"
        return {name: (now[name], wanted[name]) for name in COLUMNS}

    @property
    def changed(self) -> frozenset[str]:
        """The columns in which something would change."""
        return frozenset(name for name, (before, after) in self.cells.items() if before != after)


def shown(contact: Contact, tags: Sequence[str]) -> dict[str, str]:
    """A contact as a file shows it."""
    user = contact.assigned_user
    return {
        "phone_number": contact.phone_number,
        "name": contact.name,
        "tags": join_tags(list(tags)) if tags else "",
        "assigned_user": user.get_username() if user else "",
        "opted_out": "yes" if contact.opted_out else "no",
    }


def plain(value: Any) -> str:
    """A cell's text without outer spaces. Raises ValueError for what no person typed into it."""
    text = str(value or "").strip()
    if text == FORMULA.strip() or value == FORMULA:
        raise ValueError("This is a formula; put its value there instead.")
    if len(text) > MAX_CELL:
        raise ValueError(f"This is longer than {MAX_CELL} characters; shorten it.")
    if any(ord(mark) < 32 or ord(mark) == 127 or 0xD800 <= ord(mark) < 0xE000 for mark in text):
        raise ValueError("This holds a line break or another character that cannot be shown; type it anew.")
    return text


class NameCell(Widget):  # type: ignore[misc]
    """A name."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> str | None:
        text = plain(value)
        if len(text) > _LONGEST_NAME:
            raise ValueError(f"A name has at most {_LONGEST_NAME} characters; shorten it.")
        return text or None


class TagsCell(Widget):  # type: ignore[misc]
    """Tags with commas between them."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> list[str] | None:
        text = plain(value)
        if not text:
            return None
        try:
            names = split_tags(text)
        except forms.ValidationError as error:
            raise ValueError(error.messages[0]) from error
        return names or None


class UserCell(Widget):  # type: ignore[misc]
    """The user name of a member of the location."""

    def __init__(self, facts: ContactFacts) -> None:
        super().__init__()
        self.facts = facts

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> User | None:
        text = plain(value)
        if not text:
            return None
        user = self.facts.users.get(text) or self.facts.users.get(text.lower())
        if user is None:
            names = ", ".join(list(self.facts.usernames)[:8]) or "none yet"
            raise ValueError(f"No member of this location has that user name. Its members: {names}.")
        return user


class ConsentCell(Widget):  # type: ignore[misc]
    """Whether the contact opted out."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> bool | None:
        text = plain(value).lower()
        if text in _YES:
            return True
        if text in _NO:
            return False
        if text:
            raise ValueError("Write yes or no.")
        return None


class ContactResource(Resource):  # type: ignore[misc]
    """Reads the rows of a file against what a location has. It judges and writes nothing: `drafts` says what is wanted,
    and `routing.contact_import` does it through the services."""

    name = Field("name", "name", NameCell())
    tags = Field("tags", "tags", TagsCell())
    opted_out = Field("opted_out", "opted_out", ConsentCell())

    class Meta:
        model = Contact
        fields = COLUMNS
        import_id_fields = ("phone_number",)
        instance_loader_class = BaseInstanceLoader
        use_bulk = True
        skip_diff = True
        report_skipped = True
        store_instance = True

    def __init__(self, facts: ContactFacts, columns: Sequence[str]) -> None:
        super().__init__()
        self.facts = facts
        declared: dict[str, Field] = self.fields | {
            "phone_number": Field("phone_number", "phone_number", readonly=True),
            "assigned_user": Field("assigned_user", "assigned_user", UserCell(facts)),
        }
        self.fields: dict[str, Field] = {name: declared[name] for name in COLUMNS if name in columns}
        self._first_row: dict[str, int] = {}

    def get_import_fields(self) -> list[Field]:
        """In the order of the file's columns."""
        return list(self.fields.values())

    def get_or_init_instance(self, instance_loader: Any, row: Mapping[str, Any]) -> tuple[Draft, bool]:
        """The draft of the contact that has the row's number. Raises ValidationError at the number."""
        try:
            typed = plain(row["phone_number"])
            if not typed:
                raise ValueError("There is no phone number; every row needs one.")
            number = self.facts.parsed.get(typed) or parse_phone(typed, region=self.facts.location.region)
        except InvalidPhone as invalid:
            raise forms.ValidationError({"phone_number": invalid.detail}) from invalid
        except ValueError as error:
            raise forms.ValidationError({"phone_number": str(error)}) from error
        earlier = self._first_row.setdefault(number, row[ROW])
        if earlier != row[ROW]:
            raise forms.ValidationError(
                {"phone_number": f"Row {earlier} has the same number; leave one of them out, or put them together."}
            )
        contact = self.facts.contacts.get(number)
        tags = self.facts.tags.get(contact.pk, []) if contact else []
        return Draft(contact=contact, phone_number=number, old_tags=list(tags)), contact is None

    def import_field(
        self, field: Field, instance: Draft, row: Mapping[str, Any], is_m2m: bool = False, **kwargs: Any
    ) -> None:
        """One cell. Raises ValueError, which the library collects by column. What stands there already may stay: a
        user who has left, a number tag that a program wrote."""
        if field.attribute == "phone_number":
            return
        user = instance.contact.assigned_user if instance.contact else None
        if field.attribute == "assigned_user" and user and row["assigned_user"].strip() == user.get_username():
            return
        field.save(instance, row, False, **kwargs)
        if field.attribute == "tags":
            added = [name for name in instance.tags or () if name not in instance.old_tags]
            if wrong := self.facts.numbers.wrong(added):
                raise ValueError(wrong)

    def validate_instance(self, instance: Draft, errors: Any = None, validate_unique: bool = True) -> None:
        """Raises ValidationError with all that is wrong in the row."""
        errors = dict(errors or {})
        contact = instance.contact
        if contact is not None and contact.opted_out and instance.opted_out is False:
            source = self.facts.opted_out_by.get(contact.pk)
            if source in (None, ConsentSource.MESSAGE):
                how = "by their own message" if source else "and it is not known how"
                errors["opted_out"] = [
                    f"This contact opted out {how}: a file cannot opt them in. They can write START,"
                    " or somebody opts them in on the contact’s page."
                ]
        if errors:
            raise forms.ValidationError(errors)

    def skip_row(self, instance: Draft, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        """Whether nothing would change."""
        if import_validation_errors or instance.contact is None:
            return False
        # An opt-in is judged even where it is the only change.
        return not instance.changed

    def save_m2m(self, obj: Any, data: Any, **kwargs: Any) -> None:
        """Tags are written with the rest."""

    def bulk_create(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is written here."""

    bulk_update = bulk_create


@dataclass(frozen=True)
class Line:
    """One row of the file and what it comes to. `wrong`: column → what to do; "" for the row as a whole."""

    number: int
    kind: str
    cells: dict[str, tuple[str, str]]
    wrong: dict[str, str]
    doubts: list[str]
    draft: Draft | None


def plan(facts: ContactFacts, sheet: Sheet) -> list[Line]:
    """What each row would do, in the order of the file."""
    resource = ContactResource(facts, sheet.columns)
    data = tablib.Dataset(headers=[ROW, *sheet.columns])
    for number, cells in sheet.rows:
        data.append([number, *(cells[name] for name in sheet.columns)])
    result = resource.import_data(data, dry_run=False, use_transactions=False)
    for broken in (*result.base_errors, *(error for row in result.rows for error in row.errors)):
        raise broken.error  # a mistake of ours, not of the file
    return [_line(facts, number, cells, row) for (number, cells), row in zip(sheet.rows, result.rows, strict=True)]


def _line(facts: ContactFacts, number: int, cells: Mapping[str, str], row: RowResult) -> Line:
    if row.validation_error is not None:
        wrong = {name: " ".join(told) for name, told in row.validation_error.message_dict.items()}
        as_typed = {name: ("", cells.get(name, "").replace(FORMULA, "(formula)")[:200]) for name in COLUMNS}
        return Line(number, "wrong", as_typed, wrong, [], None)
    draft: Draft = row.instance
    kind = "new" if draft.contact is None else "updated" if draft.changed else "unchanged"
    doubts = facts.numbers.doubts(draft.tags) if draft.tags and "tags" in draft.changed else []
    return Line(number, kind, draft.cells, {}, doubts, draft)
