"""Numbers as people type them become E.164, or are refused with one code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.phones import InvalidPhone, national_format, parse_phone, parse_possible_phone

FULL_WIDTH = "＋１４１５５５５２６７１"


@pytest.mark.parametrize(
    ("raw", "region", "e164"),
    [
        ("+14155552671", "US", "+14155552671"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("415.555.2671", "US", "+14155552671"),
        ("1 415 555 2671", "US", "+14155552671"),
        ("  4155552671 ", "US", "+14155552671"),
        ("+44 (0)20 7946 0958", "US", "+442079460958"),
        ("011 44 20 7946 0958", "US", "+442079460958"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("030 123456", "DE", "+4930123456"),
        ("+39 06 1234 5678", "US", "+390612345678"),
        ("+1 800 555 1234", "US", "+18005551234"),
    ],
)
def test_readable_forms_become_e164(raw, region, e164):
    assert parse_phone(raw, region=region) == e164


@pytest.mark.parametrize("raw", ["+15551234567", "(555) 123-4567", "1-555-123-4567"])
def test_the_fictional_555_numbers_of_examples_and_sandbox_are_accepted(raw):
    assert parse_phone(raw, region="US") == "+15551234567"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="blank"),
        pytest.param("4155552671" + " " * 23, id="over 32 characters"),
        pytest.param("1-415-CALL-NOW", id="vanity letters"),
        pytest.param("call +14155552671", id="words around it"),
        pytest.param("+14155552671 x12", id="extension x"),
        pytest.param("+14155552671 ext. 12", id="extension"),
        pytest.param("+14155552671;ext=12", id="extension of RFC 3966"),
        pytest.param("4155552671,,12#", id="post-dial digits"),
        pytest.param("4155552671#12", id="hash extension"),
        pytest.param("tel:+14155552671", id="scheme"),
        pytest.param("4155552671;phone-context=evil.com", id="context"),
        pytest.param(FULL_WIDTH, id="full-width digits"),
        pytest.param("٤١٥٥٥٥٢٦٧١", id="Arabic digits"),
        pytest.param("\x004155552671", id="leading NUL"),
        pytest.param("4155552671\n", id="newline at the end"),
        pytest.param("4155552671\ud800", id="lone surrogate"),
        pytest.param("\u202a+14155552671\u202c", id="direction marks"),
        pytest.param("415\u00a05552671", id="no-break space"),
        pytest.param("++14155552671", id="two plus signs"),
        pytest.param("415+5552671", id="plus inside"),
        pytest.param("4155552671 / 4155552672", id="two numbers"),
        pytest.param("*67 4155552671", id="star code"),
        pytest.param("12", id="too short"),
        pytest.param("555-1234", id="local only"),
        pytest.param("+155512345678", id="555 with a digit too many"),
        pytest.param("+1555123456", id="555 with a digit too few"),
        pytest.param("+10005551234", id="no area code begins with 0"),
        pytest.param("+15545551234", id="area code in nobody's service"),
        pytest.param("+999123456789", id="no such country"),
        pytest.param("911", id="emergency"),
        pytest.param("+19005551234", id="premium rate"),
        pytest.param("+448451234567", id="shared cost"),
    ],
)
def test_everything_else_is_refused_with_one_code(raw):
    with pytest.raises(InvalidPhone) as refused:
        parse_phone(raw, region="US")
    assert refused.value.code == "invalid_phone"
    assert refused.value.detail
    assert not raw.strip() or raw not in refused.value.detail


def test_a_number_without_country_code_needs_a_known_region():
    with pytest.raises(InvalidPhone):
        parse_phone("4155552671", region="ZZ")


def test_a_possible_number_need_not_be_in_the_numbering_plan():
    with pytest.raises(InvalidPhone):
        parse_phone("(200) 000-0000", region="US")
    assert parse_possible_phone("(200) 000-0000", region="US") == "+12000000000"


@pytest.mark.parametrize("raw", ["abc", "12", "+14155552671 x12", "555-1234"])
def test_a_possible_number_still_is_a_number(raw):
    with pytest.raises(InvalidPhone):
        parse_possible_phone(raw, region="US")


@pytest.mark.parametrize(
    ("e164", "shown"),
    [("+14155552671", "(415) 555-2671"), ("+442079460958", "020 7946 0958"), ("", ""), ("unknown", "unknown")],
)
def test_national_format(e164, shown):
    assert national_format(e164) == shown


@given(st.text(max_size=40) | st.text(alphabet="+0123456789 ()-./x#;,", max_size=34), st.sampled_from(["US", "DE", ""]))
def test_any_text_is_a_stable_e164_number_or_refused(raw, region):
    try:
        e164 = parse_phone(raw, region=region)
    except InvalidPhone:
        return
    assert e164[0] == "+"
    assert e164[1:].isascii()
    assert e164[1:].isdigit()
    assert parse_phone(e164, region="US") == e164
