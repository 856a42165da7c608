"""Phone numbers as people type them, turned into E.164 or refused."""

import re
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

# phonenumbers also reads letters, extensions, other scripts' digits and control characters. The first two would make
# one number of two different people, the rest comes from no keyboard: hence a narrow alphabet before it is asked.
_TYPED: Final = re.compile(r"[\x20-\x7E]{1,32}")
_ALPHABET: Final = re.compile(r"[0-9+().\-/ ]+")

# Area code 555 of the North American plan is in nobody's service: examples, demos and the sandbox use it, and the
# library's metadata calls it invalid.
_FICTIONAL: Final = "+1555"

# Whoever sends to these pays for it: the classic way to drain a line.
_CHARGED: Final = frozenset({PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST})


class InvalidPhone(ValueError):
    """A text that names no phone number a message could go to; `detail` says why and never repeats the text."""

    code = "invalid_phone"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def parse_phone(raw: str, *, region: str) -> str:
    """The E.164 form of a number that a person or a client typed.

    `region` (ISO 3166, upper case) is where a number without country code is dialled from. Accepted are numbers that
    exist by the numbering plan, and the fictional +1 555. Raises InvalidPhone for everything else: letters, extensions,
    numbers that charge the sender.
    """
    number = _read(raw, region)
    e164 = _e164(number)
    if e164.startswith(_FICTIONAL):
        return e164
    if not phonenumbers.is_valid_number(number):
        raise InvalidPhone("No such phone number can exist; check the digits and the country code.")
    if phonenumbers.number_type(number) in _CHARGED:
        raise InvalidPhone("Premium-rate and shared-cost numbers are not accepted.")
    return e164


def parse_possible_phone(raw: str, *, region: str) -> str:
    """As `parse_phone`, but the right length is enough: for numbers that only have to equal one that is known to exist.

    A provider may hand out a number from an area code that is younger than the installed numbering plan. Raises
    InvalidPhone.
    """
    return _e164(_read(raw, region))


def national_format(e164: str) -> str:
    """The number as it is written in its own country, for people to read; what is not a number comes back as it is."""
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return e164
    return phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)


def _read(raw: str, region: str) -> PhoneNumber:
    if not _TYPED.fullmatch(raw):
        raise InvalidPhone("A phone number has 1 to 32 plain characters.")
    if not _ALPHABET.fullmatch(raw) or raw.count("+") > 1:
        raise InvalidPhone("A phone number has digits and + ( ) - . / only: no letters, no extension.")
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException as error:
        raise InvalidPhone("This cannot be read as a phone number.") from error
    if number.extension or phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise InvalidPhone("This has too few or too many digits for a phone number with its area code.")
    return number


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
