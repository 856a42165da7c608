"""Where a token was nobody sees a gap; the rest of the text stays as it was; the cost keeps in line with its length."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.overrides import MAX_TEXT_LENGTH, TextRefused, holds_override, parse


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        pytest.param("Your results are in {IM#2}", "Your results are in", id="at the end"),
        pytest.param("{IM#2} Your results", "Your results", id="at the start"),
        pytest.param("Hi {IM#2} there", "Hi there", id="two spaces become one"),
        pytest.param("Hi  {IM#2}   there", "Hi there", id="more spaces become one"),
        pytest.param("a  b {IM#2} c  d", "a  b c  d", id="other double spaces stay"),
        pytest.param("Hi{IM#2}there", "Hithere", id="no space is made up"),
        pytest.param("Hi {IM#2}there", "Hi there", id="space on the left only"),
        pytest.param("Hi{IM#2} there", "Hi there", id="space on the right only"),
        pytest.param("Hi {IM#2}, there", "Hi, there", id="space before a comma goes"),
        pytest.param("Done {IM#2}.", "Done.", id="space before a full stop goes"),
        pytest.param("Really {IM#2} ?!", "Really?!", id="spaces on both sides before punctuation go"),
        pytest.param("(call us {IM#2})", "(call us)", id="space before a closing bracket goes"),
        pytest.param("你好 {IM#2}。", "你好。", id="other scripts' punctuation"),
        pytest.param("Thanks {IM#2} :)", "Thanks :)", id="a face is no punctuation"),
        pytest.param("Thanks {IM#2} :D", "Thanks :D", id="nor is this one"),
        pytest.param("take {IM#2} .5 mg", "take .5 mg", id="nor is the point of a decimal"),
        pytest.param("now {IM#2} (at home)", "now (at home)", id="opening bracket keeps its space"),
        pytest.param("a\n{IM#2}\nb", "a\nb", id="line that becomes empty"),
        pytest.param("a\n  {IM#2} \nb", "a\nb", id="line with spaces only"),
        pytest.param("a\r\n{IM#2}\r\nb", "a\r\nb", id="line of Windows"),
        pytest.param("a\n{IM#2} {TEMP-IM#3}\nb", "a\nb", id="line of two tokens"),
        pytest.param("a\n{IM#2}\n{IM#2}\nb", "a\nb", id="two such lines"),
        pytest.param("a\n\n{IM#2}\n\nb", "a\n\n\nb", id="lines that were empty stay"),
        pytest.param("a\n{IM#2}", "a", id="last line"),
        pytest.param("{IM#2}\r\na", "a", id="first line"),
        pytest.param("a {IM#2}\nb", "a\nb", id="end of a line"),
        pytest.param("a\n{IM#2} b", "a\nb", id="start of a line"),
        pytest.param("a\n    {IM#2} b", "a\n    b", id="indentation stays"),
        pytest.param("a {IM#2} {IM#2} b", "a b", id="neighbours are one hole"),
        pytest.param("a {IM#2}{TEMP-IM#3}, b", "a, b", id="neighbours before punctuation"),
        pytest.param("  a\tb {{IM#2}} c \n", "a\tb c", id="ends are trimmed"),
        pytest.param("a\u00a0{IM#2} b", "a\u00a0b", id="no-break space is a space"),
        pytest.param("{IM#2}👩‍⚕️ é e\u0301", "👩‍⚕️ é e\u0301", id="characters stay what they are"),
        pytest.param("{name} {IM#2} {x}", "{name} {x}", id="other braces stay"),
        pytest.param("{IM#2}", "", id="nothing left"),
    ],
)
def test_the_seam_is_closed_and_nothing_else_is_touched(text, stripped):
    assert parse(text).text == stripped


WORDS = st.lists(st.sampled_from(["Hi", "there", "see  you", "a\nb", "(x)", "5.5"]), min_size=1, max_size=5)


@given(WORDS, WORDS, st.sampled_from(["{IM#2}", "{{ im#02 }}", "{TEMP-IM#3}", "{IM#2} {TEMP-IM#3}"]))
def test_a_token_between_words_leaves_the_text_as_if_it_had_not_been_there(left, right, token):
    before, after = " ".join(left), " ".join(right)
    assert parse(f"{before} {token} {after}").text == f"{before} {after}"


HOSTILE = [
    *("{", "}", "{}", "}{", "{ ", "{{ ", "{#", "{a}", "{IM", "{IM ", "{I", "{TEMP", "{TEMP-", "{TEMP-I", "TEMP-IM{"),
    *("IM ", "IM#", "IM#1-", "{IM#1}", "{IM#1} ", "{IM#1}\n", "{IM#1}x ", "{x IM#1 -"),
    *(" ", "\u00a0", "\u200b{", "{" + " " * 50),
]
LONG_RUNS = [
    ("{", " ", "IM"),
    ("{IM", " ", ""),
    ("{IM#", "1", "x}"),
    ("{IM#1", " ", "x}"),
    ("{TEMP", "-", ""),
    ("{", "#", ""),
    ("{", "\u200b", "IM"),
    ("", " ", "{IM#1}"),
    ("{IM#1}", " ", "x"),
    ("{x ", "IM#1 ", "x}"),
    ("{IM ", "2", "x}"),
]


def cost_s(text: str) -> float:
    """The best of five, in processor time of this thread: what the text costs, not what else the machine does."""
    costs = []
    for _ in range(5):
        start = time.thread_time()
        with suppress(TextRefused):
            parse(text)
        holds_override(text)
        costs.append(time.thread_time() - start)
    return min(costs)


@pytest.mark.parametrize(
    "make",
    [pytest.param(lambda n, p=piece: (p * n)[:n], id=repr(piece[:8])) for piece in HOSTILE]
    + [
        pytest.param(lambda n, a=head, b=body, c=tail: a + (b * n)[: n - len(a + c)] + c, id=repr((head, body, tail)))
        for head, body, tail in LONG_RUNS
    ],
)
def test_ten_times_the_text_costs_about_ten_times(make):
    short, long = make(MAX_TEXT_LENGTH // 10), make(MAX_TEXT_LENGTH)
    assert len(long) <= MAX_TEXT_LENGTH
    # Quadratic would be a hundredfold; the two milliseconds are for a busy machine.
    assert cost_s(long) < 30 * cost_s(short) + 0.002
