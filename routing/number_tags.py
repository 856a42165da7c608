"""The tags that choose a number: `im: <phone>`, in any case, the number as people write it."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from routing.phones import InvalidPhone, parse_possible_phone

_FORM: Final = re.compile(r"\s*[Ii][Mm]\s*:(.+)", re.DOTALL)


def is_number_tag(tag: str) -> bool:
    """Whether a tag has the form `im: …`, with a readable number or not."""
    return _FORM.fullmatch(tag) is not None


@lru_cache(maxsize=8192)
def tag_phone(tag: str, *, region: str) -> str | None:
    """The E.164 number that an `im: <phone>` tag names; None for any other tag and for one that names no number."""
    typed = _FORM.fullmatch(tag)
    if not typed:
        return None
    try:
        return parse_possible_phone(typed[1].strip(), region=region)
    except InvalidPhone:
        return None


def tag_numbers(tags: Iterable[str], *, region: str) -> tuple[str, ...]:
    """The E.164 numbers that the `im:` tags among these name, each once, in the order of the tags."""
    return tuple(dict.fromkeys(number for tag in tags if (number := tag_phone(tag, region=region))))
