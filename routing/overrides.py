"""The account overrides people write into a text: `{IM#2}` and `{TEMP-IM#2}`.

A token is one or two opening braces, `IM` or `TEMP-IM` in any case, `#`, one to six ASCII digits, and as many closing
braces; spaces may stand anywhere between these parts. What remains of the text after the tokens is what the customer
reads, so a code that was meant as a token and misses the form is refused rather than delivered. Such a **near miss** is
a piece of text that touches a brace and

- has the form of a token, but its braces are not one or two on both sides, or lie directly inside another pair;
- opens with `IM` and `#`, or with `TEMP` and `#`, whatever follows: `{IM#}`, `{IM#two}`, `{IM #-2}`, `{IM#2`;
- opens with `IM` and holds nothing but digits and signs up to the closing brace: `{IM2}`, `{IM-2}`, `{IM}`;
- opens with both words, in either order: `{TEMP IM#2}`, `{TEMPIM#2}`, `{IM-TEMP 2}`;
- ends, at a closing brace, with `IM#` and digits: `IM#2}`, `{use IM#2}`.

Everything else is ordinary text: `{name}`, `{I'm late}`, `{image #2}`, `{im 2. Stock}`, `(IM#2)`. So are digits and
letters of other scripts that merely look the same.

No pattern here can go over a stretch of text more than a fixed number of times: each repeats one class of characters
and is followed by something outside that class.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

MAX_TEXT_LENGTH: Final = 18_996

_FLAGS: Final = re.ASCII | re.IGNORECASE  # without ASCII, ignoring case would read İ as I
_SPACES: Final = " \t\u00a0"
_GAP: Final = r"[^A-Za-z0-9]*"

_BODY: Final = (
    rf"[{_SPACES}]*(?P<temporary>TEMP[{_SPACES}]*-[{_SPACES}]*)?IM[{_SPACES}]*#[{_SPACES}]*"
    rf"(?P<index>[0-9]{{1,6}})[{_SPACES}]*"
)
_TOKEN: Final = re.compile(_BODY, _FLAGS)
_BRACED_TOKEN: Final = re.compile(rf"\{{{_BODY}\}}", _FLAGS)
_BRACES: Final = re.compile(r"([{}]+)")

# Near misses are looked for in a chunk as people see it: without these, and with every kind of white space as a space.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)
_WHITE: Final = re.compile(r"\s")
_OPENS_LIKE_ONE: Final = re.compile(rf"[ #:*_.\-]*(?P<temporary>TEMP{_GAP})?I *M(?P<rest>.*)", _FLAGS)
_OPENS_WITH_TEMP: Final = re.compile(r"[ #:*_.\-]*TEMP[ _\-]*#", _FLAGS)
_SIGN_AND_VALUE: Final = re.compile(r"[ :_.\-]*# *(?P<value>.?)", _FLAGS)
_TEMP_FOLLOWS: Final = re.compile(rf"{_GAP}TEMP(?![A-Za-z])", _FLAGS)
_ENDS_LIKE_ONE: Final = re.compile(rf"(?<![A-Za-z0-9])IM *# *[0-9]+{_GAP}\Z", _FLAGS)
_INTENDED_INDEX: Final = re.compile(rf"IM{_GAP}([0-9]{{1,6}})(?![0-9])", _FLAGS)

# Marks that take no space before them; but not the start of a decimal (.5) or of a face such as :-) and :D.
_PUNCTUATION: Final = re.compile(r"(?![.,][0-9]|[:;][-']?(?:[()\[\]*/|\\]|[DPpOo3](?!\w)))[.,:;!?…)\]。，、！？：；]")


class TextRefused(ValueError):
    """A text that cannot be sent as it is.

    `code` is stable: `override_malformed`, `override_conflict`, `text_too_long` or `empty_message`. `detail` is for
    people and repeats nothing of the text but account numbers; `hint` says what to write instead, None where there is
    nothing to add.
    """

    def __init__(self, code: str, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Override:
    """The accounts one message asks for, by index as typed (0 included); None where it asks for none."""

    manual: int | None = None
    temporary: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedText:
    """The text as the customer gets it, and what its tokens asked for."""

    text: str
    override: Override


@dataclass(frozen=True, slots=True)
class _Token:
    start: int
    end: int
    temporary: bool
    index: int


def parse(text: str) -> ParsedText:
    """The text without its override tokens, and the override they add up to.

    A text without tokens comes back as it was. Raises TextRefused for near misses, for two different accounts in one
    kind of override, and for more than MAX_TEXT_LENGTH characters. Takes time in proportion to the text, whatever it
    holds.
    """
    require_length(text)
    tokens = list(_tokens(text))
    if not tokens:
        return ParsedText(text, Override())
    override = Override(
        manual=_agreed(token.index for token in tokens if not token.temporary),
        temporary=_agreed(token.index for token in tokens if token.temporary),
    )
    stripped = _strip(text, tokens)
    # Two halves may have closed up to a new token around one that was removed: {IM{IM#1}#2}.
    if any(_tokens(stripped)):
        raise _malformed("An account override stands inside another one.", "")
    return ParsedText(stripped, override)


def holds_override(text: str) -> bool:
    """Whether a complete token stands anywhere in the text, however its braces are balanced."""
    return _BRACED_TOKEN.search(text) is not None


def combine(override: Override, *, account_index: int | None) -> Override:
    """The override with the account that the request itself names, which counts as `{IM#N}`; None adds nothing.

    Raises TextRefused (`override_conflict`) if the text names another one by `{IM#N}`.
    """
    if account_index is None:
        return override
    if override.manual is not None and override.manual != account_index:
        raise TextRefused(
            "override_conflict",
            f"The request names account {account_index}, but its text names account {override.manual}.",
            "Name the account once: in the request or in the text.",
        )
    return replace(override, manual=account_index)


def require_length(text: str) -> None:
    """Raises TextRefused (`text_too_long`) for more than MAX_TEXT_LENGTH characters; for texts that are not parsed."""
    if len(text) > MAX_TEXT_LENGTH:
        raise TextRefused(
            "text_too_long", f"The text has {len(text):,} characters; at most {MAX_TEXT_LENGTH:,} can be sent."
        )


def require_content(text: str, has_media: bool) -> None:
    """Raises TextRefused (`empty_message`) if the text shows nothing and no media goes with it."""
    if not has_media and not _as_seen(text).strip():
        raise TextRefused("empty_message", "The message has neither text nor media.")


def _tokens(text: str) -> Iterator[_Token]:
    """The tokens in their order; raises TextRefused at the first near miss."""
    if "{" not in text and "}" not in text:
        return
    # Runs of braces at the even places, chunks without braces at the odd ones.
    parts = ["", *_BRACES.split(text), ""]
    start = 0
    for i in range(1, len(parts), 2):
        before, chunk, after = parts[i - 1 : i + 2]
        opening = len(before) - len(before.rstrip("{"))
        closing = len(after) - len(after.lstrip("}"))
        start += len(before)
        end = start + len(chunk)
        if opening or closing:
            token = _TOKEN.fullmatch(chunk)
            if token and opening == closing <= 2 and not _is_enclosed(parts, i):
                yield _Token(start - opening, end + closing, token["temporary"] is not None, int(token["index"]))
            elif token or _is_near_miss(chunk, opening > 0, closing > 0, end == len(text)):
                raise _malformed(f"The account override near character {start + 1} cannot be read.", chunk)
        start = end


def _is_enclosed(parts: list[str], i: int) -> bool:
    """Whether only blanks part the braces around chunk `i` from further ones that open before or close after them."""
    opens = i >= 3 and parts[i - 3].endswith("{") and not _as_seen(parts[i - 2]).strip()
    closes = i + 3 < len(parts) and parts[i + 3].startswith("}") and not _as_seen(parts[i + 2]).strip()
    return opens or closes


def _as_seen(chunk: str) -> str:
    return _WHITE.sub(" ", _INVISIBLE.sub("", chunk))


def _is_near_miss(chunk: str, opened: bool, closed: bool, is_last: bool) -> bool:
    """Whether a chunk with a brace on at least one side was meant as an override, by the rules of the module."""
    chunk = _as_seen(chunk)
    if closed and _ENDS_LIKE_ONE.search(chunk):
        return True
    if not opened:
        return False
    if _OPENS_WITH_TEMP.match(chunk):
        return True
    attempt = _OPENS_LIKE_ONE.match(chunk)
    if not attempt or attempt["rest"][:1].isalpha():
        return False
    rest = attempt["rest"]
    if sign := _SIGN_AND_VALUE.match(rest):
        return not _is_foreign_number(sign["value"])
    if attempt["temporary"] or _TEMP_FOLLOWS.match(rest):
        return True
    return (closed or is_last) and not any(c.isalpha() or _is_foreign_number(c) for c in rest)


def _is_foreign_number(character: str) -> bool:
    return character.isnumeric() and not character.isascii()


def _malformed(detail: str, chunk: str) -> TextRefused:
    word = "TEMP-IM" if "temp" in chunk.lower() else "IM"
    index = _INTENDED_INDEX.search(chunk)
    form = f"{{{word}#{int(index[1]) if index else 2}}}"
    meaning = "" if index else ", with the number of the account in place of 2"
    return TextRefused(
        "override_malformed", detail, f"Write {form}{meaning}, or send the text with parse_overrides off to keep it."
    )


def _agreed(indexes: Iterable[int]) -> int | None:
    """The one index that all tokens of a kind name; None without tokens. Raises TextRefused if they differ."""
    found = sorted(set(indexes))
    if len(found) > 1:
        names = " and ".join(str(index) for index in found[:2])
        raise TextRefused("override_conflict", f"The text asks for accounts {names} at once.", "Name one account.")
    return found[0] if found else None


def _strip(text: str, tokens: list[_Token]) -> str:
    kept: list[str] = []
    done = 0
    for start, end in _holes(text, tokens):
        left, right = _seam(text, start, end)
        kept.append(text[done:left])
        done = right
    kept.append(text[done:])
    return "".join(kept).strip()


def _holes(text: str, tokens: list[_Token]) -> Iterator[tuple[int, int]]:
    """The stretches to remove: tokens with only spaces between them are one."""
    start, end = tokens[0].start, tokens[0].end
    for token in tokens[1:]:
        if text[end : token.start].strip(_SPACES):
            yield start, end
            start = token.start
        end = token.end
    yield start, end


def _seam(text: str, start: int, end: int) -> tuple[int, int]:
    """From where to where to cut the text for the hole from `start` to `end`, so that no gap shows where it was."""
    left, right = start, end
    while left > 0 and text[left - 1] in _SPACES:
        left -= 1
    while right < len(text) and text[right] in _SPACES:
        right += 1
    line_starts = left == 0 or text[left - 1] in "\r\n"
    line_ends = right == len(text) or text[right] in "\r\n"
    if line_starts and line_ends:
        return left, right + (2 if text.startswith("\r\n", right) else 1)
    if line_starts:
        return start, right
    if line_ends or _PUNCTUATION.match(text, right):
        return left, right
    if left < start and right > end:
        return left + 1, right
    return start, end
