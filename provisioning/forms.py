"""What the admin asks of a person who makes a setup, connects an account, or attaches credentials."""

from typing import Any
from uuid import uuid4

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.validators import RegexValidator
from django.db.models import QuerySet

from provisioning.providers import provider_choices
from provisioning.providers.base import Credentials
from routing.models import Location
from routing.scoped_admin import SecretInput


class CredentialsForm(forms.Form):
    """Credentials as they are typed in; none is ever filled in again."""

    key_id = forms.CharField(label="API key id", max_length=500, widget=SecretInput)
    secret = forms.CharField(label="API secret", max_length=500, widget=SecretInput)

    def credentials(self) -> Credentials:
        """What was typed."""
        return Credentials(key_id=self.cleaned_data["key_id"], secret=self.cleaned_data["secret"])


class NewSetupForm(forms.Form):
    """What a new setup needs to know."""

    location: "forms.ModelChoiceField[Location]" = forms.ModelChoiceField(queryset=Location.objects.none())
    business_name = forms.CharField(
        max_length=64, widget=AdminTextInputWidget, help_text="What recipients see; it cannot be changed later."
    )
    label = forms.CharField(
        max_length=120, widget=AdminTextInputWidget, help_text="For the people who run it; it can be changed."
    )

    def __init__(self, *args: Any, locations: QuerySet[Location], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["location"]
        field.queryset = locations
        few = list(locations[:2])
        if len(few) == 1:
            field.initial = few[0].pk


class CreateForm(NewSetupForm):
    """A new account at the provider. `setup_id` is drawn with the form: sent twice, it makes one setup."""

    setup_id = forms.UUIDField(
        widget=forms.HiddenInput,
        initial=uuid4,
        error_messages=dict.fromkeys(("required", "invalid"), "This form was out of date. Press Create once more."),
    )

    area_code = forms.CharField(
        required=False,
        max_length=3,
        validators=[RegexValidator(r"^[2-9][0-9]{2}$", "An area code has three digits, like 415.")],
        help_text="A wish for the number; the provider may give another.",
    )


class ConnectForm(NewSetupForm, CredentialsForm):
    """An account that is there already."""

    provider = forms.ChoiceField(choices=provider_choices)
    field_order = ("location", "business_name", "label", "provider", "key_id", "secret")
