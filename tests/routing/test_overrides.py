"""What a token is, what two of them add up to, and what the request adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.overrides import (
    MAX_TEXT_LENGTH,
    Override,
    ParsedText,
    TextRefused,
    combine,
    holds_override,
    parse,
    require_content,
    require_length,
)


def refusal_of(text: str) -> TextRefused:
    with pytest.raises(TextRefused) as refused:
        parse(text)
    return refused.value


@pytest.mark.parametrize(
    "token",
    [
        "{IM#2}",
        "{{IM#2}}",
        "{{ IM#2 }}",
        "{ IM#2 }",
        "{im # 2}",
        "{Im#2}",
        "{iM #2}",
        "{IM#02}",
        "{IM#000002}",
        "{\tIM\t#\t2\t}",
        "{\u00a0IM#2}",
    ],
)
def test_forms_of_the_manual_override(token):
    assert parse(f"Hi {token} there") == ParsedText("Hi there", Override(manual=2))


@pytest.mark.parametrize(
    "token", ["{TEMP-IM#3}", "{{TEMP-IM#3}}", "{temp-im#3}", "{ Temp - Im # 3 }", "{TEMP-IM#003}", "{{ temp-IM#3}}"]
)
def test_forms_of_the_temporary_override(token):
    assert parse(f"Hi {token} there") == ParsedText("Hi there", Override(temporary=3))


@pytest.mark.parametrize(("digits", "index"), [("0", 0), ("000000", 0), ("1", 1), ("999999", 999_999)])
def test_indexes_are_kept_as_typed_zero_included(digits, index):
    assert parse(f"x {{IM#{digits}}}").override == Override(manual=index)


@pytest.mark.parametrize(
    ("text", "override"),
    [
        ("{IM#1} and {TEMP-IM#2}", Override(manual=1, temporary=2)),
        ("{TEMP-IM#2} and {IM#1}", Override(manual=1, temporary=2)),
        ("{IM#2} and {{im#02}}", Override(manual=2)),
        ("{TEMP-IM#2} and {TEMP-IM#2}", Override(temporary=2)),
        ("{IM#2}and{IM#2}{TEMP-IM#2}{TEMP-IM#2}", Override(manual=2, temporary=2)),
    ],
)
def test_several_tokens_are_all_removed(text, override):
    assert parse(text) == ParsedText("and", override)


@pytest.mark.parametrize(
    "text", ["{IM#1} {IM#2}", "{IM#0} {IM#1}", "{TEMP-IM#1} x {{TEMP-IM#2}}", "{IM#1}{IM#2}{IM#3}"]
)
def test_two_accounts_in_one_kind_conflict(text):
    assert refusal_of(text).code == "override_conflict"


@pytest.mark.parametrize(
    ("override", "account", "combined"),
    [
        (Override(), None, Override()),
        (Override(manual=1, temporary=2), None, Override(manual=1, temporary=2)),
        (Override(), 2, Override(manual=2)),
        (Override(), 0, Override(manual=0)),
        (Override(manual=2), 2, Override(manual=2)),
        (Override(manual=0), 0, Override(manual=0)),
        (Override(temporary=3), 2, Override(manual=2, temporary=3)),
    ],
)
def test_the_account_of_the_request_is_the_manual_override(override, account, combined):
    assert combine(override, account_index=account) == combined


@pytest.mark.parametrize(("typed", "account"), [(1, 2), (0, 1), (1, 0)])
def test_request_and_text_must_not_disagree(typed, account):
    with pytest.raises(TextRefused) as refused:
        combine(Override(manual=typed), account_index=account)
    assert refused.value.code == "override_conflict"


def test_the_longest_text_passes_and_one_more_does_not():
    assert parse("é" * MAX_TEXT_LENGTH).text == "é" * MAX_TEXT_LENGTH
    assert refusal_of("é" * (MAX_TEXT_LENGTH + 1)).code == "text_too_long"
    assert refusal_of("{IM#2" + "x" * MAX_TEXT_LENGTH).code == "text_too_long"
    require_length("x" * MAX_TEXT_LENGTH)
    with pytest.raises(TextRefused, match="18,997"):
        require_length("x" * (MAX_TEXT_LENGTH + 1))


def test_the_limit_counts_what_was_submitted_tokens_included():
    assert refusal_of("{IM#2}" + "x" * (MAX_TEXT_LENGTH - 5)).code == "text_too_long"


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0", "\u200b\ufeff"])
def test_a_text_that_shows_nothing_needs_media(text):
    require_content(text, has_media=True)
    with pytest.raises(TextRefused) as refused:
        require_content(text, has_media=False)
    assert refused.value.code == "empty_message"


def test_what_is_left_of_a_lone_token_is_empty():
    parsed = parse(" {IM#2} ")
    assert parsed == ParsedText("", Override(manual=2))
    with pytest.raises(TextRefused):
        require_content(parsed.text, has_media=False)
    require_content("x", has_media=False)


@pytest.mark.parametrize(
    "text", ["a {IM#2}", "{{im # 2}}", "{TEMP-IM#3} b", "{{{IM#2}}}", "{IM#2}}", "{x{IM#2}", "{ temp - im # 000003 }"]
)
def test_the_last_check_sees_any_complete_token(text):
    assert holds_override(text)


@pytest.mark.parametrize("text", ["", "IM#2", "{name}", "{IM#}", "{IM#2", "IM#2}", "{IM#1234567}", "{IM２}", "{İM#2}"])
def test_the_last_check_sees_nothing_else(text):
    assert not holds_override(text)


PIECES = st.sampled_from(
    [
        *("{", "}", "{{", "}}", "IM", "im", "TEMP", "-", "#", "2", "03", "I", "M", "{IM#2}", "{{TEMP-IM#3}}", "{name}"),
        *("hi", ".", ",", "２", "İ", " ", "\n", "\r\n", "\u00a0", "\u200b"),
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60)


@given(TEXTS)
def test_what_was_parsed_holds_no_override_and_parses_to_itself(text):
    try:
        parsed = parse(text)
    except TextRefused:
        return
    assert not holds_override(parsed.text)
    assert parse(parsed.text) == ParsedText(parsed.text, Override())


@given(TEXTS)
def test_every_complete_token_is_obeyed_or_refused(text):
    try:
        parsed = parse(text)
    except TextRefused:
        return
    assert (parsed.override != Override()) == holds_override(text)


@given(TEXTS.map(lambda text: text.replace("{", "").replace("}", "")))
def test_text_without_braces_is_untouched(text):
    assert parse(text) == ParsedText(text, Override())


@given(st.text(alphabet=st.characters(exclude_characters="{}")), st.integers(0, 999_999))
def test_only_white_space_is_lost_with_a_token(text, index):
    parsed = parse(f"{text} {{IM#{index}}}")
    assert parsed == ParsedText(text.strip(), Override(manual=index))
