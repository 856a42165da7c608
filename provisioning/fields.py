"""Columns whose content is encrypted at rest: django-encrypted-model-fields, made strict."""

from typing import TYPE_CHECKING, Any, NoReturn, Self

from cryptography.fernet import Fernet, InvalidToken
from django import forms
from django.conf import settings
from django.core import checks
from django.core.exceptions import FieldError, ImproperlyConfigured, ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, Value
from django.db.models.functions import Cast

try:
    from encrypted_model_fields import fields as encrypted
except ImproperlyConfigured:
    # The package makes its cipher when it is imported, and calls the setting by another name.
    raise ImproperlyConfigured(
        "FIELD_ENCRYPTION_KEYS holds something that is no key: each is 32 bytes in URL-safe base64, several are "
        "separated by commas, newest first. Make one with: "
        'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
    ) from None

SHOWN = "[secret]"
"""What stands wherever a secret would be shown."""


class UndecryptableSecret(Exception):
    """A stored secret that none of the configured keys opens."""

    code = "undecryptable_secret"


class Sealed:
    """A stored secret. It shows itself to nobody; `reveal` gives the clear text to the one call that needs it."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    @classmethod
    def of(cls, text: str) -> Self:
        """`text` under the newest key. Raises FieldError when UTF-8 cannot hold it."""
        try:
            return cls(encrypted.encrypt_str(text).decode("ascii"))
        except UnicodeEncodeError:
            # The original names the text.
            raise FieldError("A secret must be text that UTF-8 can hold.") from None

    @property
    def token(self) -> str:
        """The ciphertext, as it stands in the database."""
        return self._token

    def reveal(self) -> str:
        """The clear text. Raises UndecryptableSecret when no configured key opens it."""
        try:
            text: str = encrypted.decrypt_str(self._token)
        except (InvalidToken, UnicodeError):
            raise UndecryptableSecret(
                "A stored secret cannot be decrypted: is the key it was written with missing in FIELD_ENCRYPTION_KEYS?"
            ) from None
        return text

    def is_current(self) -> bool:
        """Whether it was written with the newest key."""
        try:
            Fernet(settings.FIELD_ENCRYPTION_KEY[0]).decrypt(self._token.encode())
        except (InvalidToken, UnicodeError):
            return False
        return True

    def renewed(self) -> Self:
        """The same secret under the newest key. Raises UndecryptableSecret."""
        return type(self).of(self.reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and other._token == self._token

    def __hash__(self) -> int:
        return hash(self._token)

    def __repr__(self) -> str:
        return SHOWN

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled.")


class SecretTextField(encrypted.EncryptedTextField):  # type: ignore[misc]
    """Text that is encrypted at rest. Read back it is `Sealed`; a plain string that is assigned is sealed on save.

    Unlike the package's own field it never takes ciphertext for text or text for ciphertext, whatever the keys, and
    nothing but plain values and `Sealed` is written: an expression is refused rather than stored as its own words.
    """

    if TYPE_CHECKING:

        def __get__(self, instance: Any, owner: Any) -> Any: ...

        def __set__(self, instance: Any, value: Any) -> None: ...

    def to_python(self, value: Any) -> Any:
        """The value as it is: what a form sends is text, even when it looks like a token.

        Raises ValidationError on the placeholder, which would replace a secret by the word that hides it.
        """
        if value is None or isinstance(value, Sealed):
            return value
        if str(value) == SHOWN:
            raise ValidationError("This only stands for a secret; it is not one.", code="placeholder")
        return str(value)

    def from_db_value(self, value: Any, *args: Any, **kwargs: Any) -> Sealed | None:
        """What attributes hold after a read."""
        return None if value is None else Sealed(value)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Seals the attribute itself, so that an object shows no secret once it was saved."""
        value = getattr(model_instance, self.attname)
        if isinstance(value, str):
            value = Sealed.of(value)
            setattr(model_instance, self.attname, value)
        return value

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """The ciphertext: whatever of this field reaches a statement is encrypted."""
        if value is None:
            return None
        return (value if isinstance(value, Sealed) else Sealed.of(str(value))).token

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """The ciphertext to store. Raises FieldError on an expression, which could not be encrypted.

        The one `bulk_update` makes passes: its branches are values of this field, each encrypted on its own.
        """
        if hasattr(value, "as_sql"):
            if not _made_of_secrets(value):
                raise FieldError(f"{self} takes plain values only: an expression cannot be encrypted.")
            return value
        return self.get_db_prep_value(value, connection)

    def get_lookup(self, lookup_name: str) -> Any:
        """Only `isnull`: any other comparison would be with ciphertext, and put the clear text into SQL."""
        if lookup_name != "isnull":
            raise FieldError(f"{self} is encrypted and cannot be searched.")
        return super().get_lookup(lookup_name)

    def value_from_object(self, obj: models.Model) -> Any:
        """What forms and serializers are given: never the secret."""
        return None if getattr(obj, self.attname) is None else SHOWN

    def value_to_string(self, obj: models.Model) -> str:
        """What `dumpdata` writes. A dump holds no secrets; loading it is refused at this field."""
        return SHOWN

    def formfield(self, **kwargs: Any) -> Any:
        """A write-only form field: it is always shown empty, and left empty it changes nothing."""
        return super().formfield(
            **{
                "widget": forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"}),
                "show_hidden_initial": False,
                **kwargs,
            }
        )

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        """Takes what was typed; nothing typed leaves the secret as it is."""
        if data:
            super().save_form_data(instance, data)

    def run_validators(self, value: Any) -> None:
        """Validators see text that is new; what is sealed passed them when it came."""
        if not isinstance(value, Sealed):
            super().run_validators(value)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Refuses options that mean nothing on ciphertext, or that would write clear text into the schema."""
        found: list[checks.CheckMessage] = super().check(**kwargs)
        if self.unique or self.db_index or self.primary_key or self._is_indexed_by_model():
            found.append(
                checks.Error(
                    "An encrypted column cannot be unique or indexed.",
                    hint="The same text is another ciphertext each time. Keep a keyed digest beside it instead.",
                    obj=self,
                    id="provisioning.E001",
                )
            )
        if self.has_db_default():
            found.append(
                checks.Error(
                    "An encrypted column cannot have a default in the database.",
                    hint="It would stand there in clear. Use `default`.",
                    obj=self,
                    id="provisioning.E002",
                )
            )
        return found

    def _is_indexed_by_model(self) -> bool:
        options = self.model._meta
        named = [*options.unique_together, *(getattr(one, "fields", ()) for one in options.indexes)]
        named += [getattr(one, "fields", ()) for one in options.constraints]
        return any(self.name in fields for fields in named)


def _made_of_secrets(expression: Any) -> bool:
    """Whether every value the expression can have is encrypted by a field of ours, or is NULL."""
    if isinstance(expression, Cast):
        return all(_made_of_secrets(source) for source in expression.get_source_expressions())
    if isinstance(expression, Case):
        return all(_made_of_secrets(when.result) for when in expression.cases) and _made_of_secrets(expression.default)
    if isinstance(expression, Value):
        return expression.value is None or isinstance(expression.output_field, SecretTextField)
    return False
