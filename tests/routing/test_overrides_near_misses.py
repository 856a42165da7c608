"""A code that was meant as an override never reaches the customer; ordinary braces do."""

import pytest

from routing.overrides import Override, ParsedText, TextRefused, parse


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("{IM#}", "{IM#2}"),
        ("{IM2}", "{IM#2}"),
        ("{IM#two}", "{IM#2}"),
        ("{TEMP IM#2}", "{TEMP-IM#2}"),
        ("{IM#1234567}", "{IM#2}"),
        ("{IM#0000002}", "{IM#2}"),
        ("{TEMP-IM2}", "{TEMP-IM#2}"),
        ("{TEMPIM#4}", "{TEMP-IM#4}"),
        ("{TEMP_IM#4}", "{TEMP-IM#4}"),
        ("{TEMP\u2013IM#4}", "{TEMP-IM#4}"),
        ("{TEMP--IM#4}", "{TEMP-IM#4}"),
        ("{TEMP-IM}", "{TEMP-IM#2}"),
        ("{TEMP-IM two}", "{TEMP-IM#2}"),
        ("{TEMP#4}", "{TEMP-IM#2}"),
        ("{IM-TEMP#4}", "{TEMP-IM#2}"),
        ("{IM-3}", "{IM#3}"),
        ("{IM #-3}", "{IM#3}"),
        ("{IM-#3}", "{IM#3}"),
        ("{IM: #3}", "{IM#3}"),
        ("{IM 3}", "{IM#3}"),
        ("{im_3}", "{IM#3}"),
        ("{IM##3}", "{IM#3}"),
        ("{IM#3.}", "{IM#3}"),
        ("{IM#3 please}", "{IM#3}"),
        ("{IM#3,4}", "{IM#3}"),
        ("{IM3#}", "{IM#3}"),
        ("{IM!3}", "{IM#3}"),
        ("{IM＃3}", "{IM#3}"),
        ("{#IM3}", "{IM#3}"),
        ("{I M#3}", "{IM#2}"),
        ("{IM}", "{IM#2}"),
        ("{ im }", "{IM#2}"),
        ("{{IM}}", "{IM#2}"),
        ("{im #1 fan}", "{IM#1}"),
        ("{use IM#3}", "{IM#3}"),
    ],
)
def test_near_misses_are_refused_with_the_right_form(text, form):
    with pytest.raises(TextRefused) as refused:
        parse(f"Hi {text} there")
    assert refused.value.code == "override_malformed"
    assert refused.value.hint is not None
    assert refused.value.hint.startswith(f"Write {form}")
    assert text not in refused.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "{IM#2",
        "{IM#2 and much more text",
        "{{IM#2}",
        "{IM#2}}",
        "{{{IM#2}}}",
        "{{{IM#2}}",
        "{{IM#2}}}",
        "IM#2}",
        "TEMP-IM#2}",
        "IM#2 }}",
        "{IM#2{IM#2}",
        "{ {IM#2} }",
        "{{IM#2} }",
        "{ {IM#2}}",
        "{name: {IM#2}}",
        "{ {IM#2} name}",
        "{IM#2} }",
        "{IM",
        "{IM2",
    ],
)
def test_unbalanced_braces_are_refused(text):
    with pytest.raises(TextRefused) as refused:
        parse(f"Hi {text}")
    assert refused.value.code == "override_malformed"


@pytest.mark.parametrize(
    "text", ["{IM{IM#1}#2}", "{I{IM#1}M#2}", "{TEMP-{TEMP-IM#1}IM#2}", "{{IM#1}IM#1}", "{IM#{IM#1}}"]
)
def test_no_token_comes_to_be_by_removing_another(text):
    with pytest.raises(TextRefused) as refused:
        parse(text)
    assert refused.value.code == "override_malformed"


@pytest.mark.parametrize(
    "text", ["{IM\u200b#2}", "{\u200bIM#2}", "{IM#\u00ad2}", "{I\u2060M#2}", "{IM#2\n}", "{IM\u2003#two}"]
)
def test_what_cannot_be_seen_does_not_smuggle_a_code_through(text):
    with pytest.raises(TextRefused) as refused:
        parse(text)
    assert refused.value.code == "override_malformed"


@pytest.mark.parametrize(
    "text",
    [
        "{name}",
        "{{name}}",
        "{I'm late}",
        "{I’m #1}",
        "{important}",
        "{impact 2}",
        "{image #2}",
        "{imp#2}",
        "{Tim #2}",
        "{AIM#2}",
        "{Kim}",
        "{im 2. Stock}",
        "{im Büro}",
        "{im {city}}",
        "{imágenes 2}",
        "{temp: 38.5}",
        "{temp}",
        "{temporary}",
        "{temp image}",
        "{temp impact #2}",
        "{template #2}",
        "{TEMP 2}",
        "{2}",
        "{#2}",
        "{WA#2}",
        "{}",
        "{{}}",
        "}{",
        "{",
        "}",
        "{ we said {IM to each other",
        "IM#2",
        "(IM#2)",
        "[IM#2]",
        "IM#2 {name}",
        "{name} IM#2",
        "  {name}  kept  as it is\n\n",
        "{IM２}",
        "{IM#２}",
        "{IM#٢}",
        "{IM#²}",
        "{ІМ#2}",
        "{ＩＭ#2}",
        "{İM#2}",
        "{ıM#2}",
        "｛IM#2｝",
        "{TEMP-ІM#2}",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert parse(text) == ParsedText(text, Override())


def test_the_place_is_told_but_not_the_text():
    with pytest.raises(TextRefused) as refused:
        parse("Dear Ms Secret {IM2}")
    assert "17" in refused.value.detail
    assert "Secret" not in f"{refused.value} {refused.value.hint}"
