"""The form of a contact: its tags as chips, and the number that messages leave from as a choice of its own."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils.html import format_html, format_html_join

from routing import services
from routing.errors import Refused
from routing.models import Account, Contact, Location, Tag
from routing.number_tags import is_number_tag, tag_phone
from routing.phones import InvalidPhone, national_format, parse_phone
from routing.scoped_admin import members_of, offer_members

MAX_OFFERED = 200
"""Numbers in the picker, and tags that a person is reminded of while typing."""
MAX_NAMED = 5
"""Numbers that a sentence names."""


def join_tags(names: list[str]) -> str:
    """Names with commas between them; one that holds a comma or a quotation mark stands in quotes."""
    return ", ".join('"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name for name in names)


def split_tags(text: str) -> list[str]:
    """The names in `text`, as `join_tags` writes them and as people type them. Raises ValidationError."""
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise forms.ValidationError("Put commas between the tags.") from error
    names = [name.strip() for name in (rows[0] if rows else [])]
    try:
        return services.clean_tag_names(name for name in names if name)
    except Refused as refused:
        raise forms.ValidationError(refused.detail) from refused


class LocationNumbers:
    """The numbers of a location's accounts, lowest index first, and what can be said of an `im:` tag by them."""

    def __init__(self, location: Location) -> None:
        self.region = location.region
        accounts = Account.objects.open().filter(location=location).order_by("index")
        self.accounts = {account.phone_number: account for account in accounts.only("index", "label", "phone_number")}

    def choices(self, chosen: str = "") -> list[tuple[str, str]]:
        """For the picker: index, label and national number of each; of very many, the first ones and the chosen."""
        offered = [*self.accounts.values()][:MAX_OFFERED]
        if chosen in self.accounts and self.accounts[chosen] not in offered:
            offered.append(self.accounts[chosen])
        return [("", "none: the other rules choose")] + [
            (one.phone_number, f"{one.index} · {one.label} · {national_format(one.phone_number)}") for one in offered
        ]

    def wrong(self, names: Iterable[str]) -> str:
        """What is wrong with the first `im:` tag that holds no phone number and so can never choose one; "" if none."""
        for name in names:
            if is_number_tag(name) and tag_phone(name, region=self.region) is None:
                return f"“{name}” holds no phone number, so it could never choose one. {self.known}"
        return ""

    def doubts(self, names: Iterable[str]) -> list[str]:
        """What a person should know about these tags though they may stay."""
        numbers = list(dict.fromkeys(filter(None, (tag_phone(name, region=self.region) for name in names))))
        said = [
            f"“im: {number}” chooses nothing now. {self.known}" for number in numbers if number not in self.accounts
        ]
        several = sorted(self.accounts[number].index for number in numbers if number in self.accounts)
        if len(several) > 1:
            indexes = ", ".join(map(str, several))
            said.append(f"The tags name several accounts: {indexes}. The one last used with this contact is preferred.")
        return said

    @property
    def known(self) -> str:
        """A sentence that names the location's numbers, or the first few of them."""
        if not self.accounts:
            return "The location has no number yet."
        first = [f"{one.phone_number} (account {one.index})" for one in list(self.accounts.values())[:MAX_NAMED]]
        more = len(self.accounts) - len(first)
        return f"The location’s numbers: {', '.join(first)}{f' and {more} more' if more else ''}."


class TagInput(AdminTextInputWidget):
    """A text with commas; where scripts run, chips with a button that removes each, and a reminder of known tags."""

    class Media:
        css = {"all": ("hub/contacts.css",)}

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "off", "spellcheck": "false"})
        self.known: Sequence[str] = ()

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        """The field and the list that it is reminded by."""
        known = f"{(attrs or {}).get('id', name)}-known"
        field = super().render(name, value, {**(attrs or {}), "data-tags": known}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((tag,) for tag in self.known))
        return format_html('<div class="hub-tags-field">{}<datalist id="{}">{}</datalist></div>', field, known, options)


class ContactForm(forms.ModelForm):  # type: ignore[type-arg]
    """A contact with its tags typed out and its number read in the location's region.

    The picker stands for the one `im:` tag that names an account of the location; any other such tag is shown, and may
    be typed, among the tags. `doubts` tells what to warn of after saving.
    """

    phone_number = forms.CharField(max_length=32, widget=AdminTextInputWidget, label="Phone number")
    tag_names = forms.CharField(
        label="Tags", required=False, max_length=4000, widget=TagInput, help_text="With commas between them."
    )
    sends_from = forms.ChoiceField(
        label="Messages leave from",
        required=False,
        help_text="Kept as the tag “im: number”. Choose “none” to leave it to the assigned user and the default.",
    )

    class Meta:
        model = Contact
        fields = ("location", "name", "phone_number", "assigned_user")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._old_tags: list[str] = []
        self._picked_as = ""
        self._numbers: LocationNumbers | None = None
        if not self.is_new:
            if "assigned_user" in self.fields:
                offer_members(self, "assigned_user")
            self._old_tags = list(self.instance.tags.order_by("contact_tags__pk").values_list("name", flat=True))
        location = self._known_location()
        if location is None or "tag_names" not in self.fields:
            self.fields.pop("sends_from", None)
            return
        self._numbers = LocationNumbers(location)
        self._show_tags(location, self._numbers)

    def _known_location(self) -> Location | None:
        """The location, where it is fixed already: the object's, or the only one that may be chosen."""
        if not self.is_new:
            return Location.objects.get(pk=self.instance.location_id)
        offered: Any = getattr(self.fields.get("location"), "queryset", None)
        only: list[Location] = list(offered[:2]) if offered is not None else []
        return only[0] if len(only) == 1 else None

    def _show_tags(self, location: Location, numbers: LocationNumbers) -> None:
        named = [name for name in self._old_tags if tag_phone(name, region=location.region) in numbers.accounts]
        self._picked_as = named[0] if len(named) == 1 else ""
        chosen = tag_phone(self._picked_as, region=location.region) or ""
        self.initial["tag_names"] = join_tags([name for name in self._old_tags if name != self._picked_as])
        tag_field: Any = self.fields["tag_names"]
        tag_field.widget.known = Tag.objects.filter(location=location).values_list("name", flat=True)[:MAX_OFFERED]
        if "sends_from" in self.fields:
            self.initial["sends_from"] = chosen
            picker: Any = self.fields["sends_from"]
            picker.choices = numbers.choices(chosen)

    @property
    def is_new(self) -> bool:
        """Whether it is still to be stored; a new one has its id already."""
        return bool(self.instance._state.adding)

    @property
    def doubts(self) -> list[str]:
        """What to tell after saving, where the tags were changed."""
        if self._numbers is None or not {"tag_names", "sends_from"} & set(self.changed_data):
            return []
        return self._numbers.doubts(self.all_tags)

    @property
    def all_tags(self) -> list[str]:
        """The typed tags and the picked one; a number tag that was there keeps the form it has."""
        typed: list[str] = self.cleaned_data["tag_names"]
        picked = self.cleaned_data.get("sends_from") or ""
        region = self._numbers.region if self._numbers else ""
        if not picked or any(tag_phone(name, region=region) == picked for name in typed):
            return typed
        kept = self._picked_as if tag_phone(self._picked_as, region=region) == picked else f"im: {picked}"
        return [*typed, kept]

    def clean_tag_names(self) -> list[str]:
        """The names, each once."""
        return split_tags(self.cleaned_data["tag_names"])

    def clean(self) -> dict[str, Any]:
        """Refuses numbers that are none, numbers that another contact of the location has, `im:` tags without one."""
        data: dict[str, Any] = super().clean() or {}
        location = data.get("location") if self.is_new else self.instance.location
        if location is None:
            return data
        self._clean_tags(data, location)
        self._clean_number(data, location)
        user = data.get("assigned_user")
        if user is not None and self.is_new and not members_of([location.pk]).filter(pk=user.pk).exists():
            self.add_error("assigned_user", "Choose a member of this location.")
        return data

    def _clean_tags(self, data: dict[str, Any], location: Location) -> None:
        typed = [name for name in data.get("tag_names", ()) if name not in self._old_tags]
        if not any(map(is_number_tag, typed)):
            return
        self._numbers = self._numbers or LocationNumbers(location)
        if wrong := self._numbers.wrong(typed):
            self.add_error("tag_names", wrong)

    def _clean_number(self, data: dict[str, Any], location: Location) -> None:
        raw = data.get("phone_number")
        if not raw:
            return
        try:
            data["phone_number"] = parse_phone(raw, region=location.region)
        except InvalidPhone as invalid:
            self.add_error("phone_number", invalid.detail)
            return
        same = Contact.objects.filter(location=location, phone_number=data["phone_number"])
        if same.exclude(pk=self.instance.pk).exists():
            self.add_error("phone_number", "Another contact of this location has this number.")
