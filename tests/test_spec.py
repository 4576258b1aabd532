"""The bracket grammar: what is written reads back, and what is malformed is refused."""

import string
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mecheval.errors import UsageError
from mecheval.spec import (
    Spec,
    configured,
    format_args,
    parse_assignments,
    parse_spec,
    split_list,
)

plain_names = st.text(string.ascii_letters + string.digits + "-_./:", min_size=1)
odd_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ["odd/a[1]", "odd/a@b", "odd/a b", "it's", 'say "x"', "'\\", "a,b", "'", '"', "\n", "=", "hf:"]
)
names = plain_names | odd_names | odd_names.map("hf:".__add__)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(['a"b', "a'b", "a]b", "[", "x=y", "a,b", " ", "\\", "2020-01-01", "{a=1}"])
)
values = scalars | st.lists(scalars, max_size=4)
specs = st.builds(
    Spec,
    names,
    st.dictionaries(keys | st.just("preset"), values, max_size=4),
    st.none() | plain_names | odd_names,
)
thorough = settings(max_examples=100, deadline=None, derandomize=True)


@thorough
@given(specs)
def test_every_spec_reads_back(spec: Spec) -> None:
    assert parse_spec(str(spec)) == spec


@thorough
@given(st.lists(specs, max_size=4), st.sampled_from([",", " ", ", ", "  "]))
def test_lists_split_only_between_names(listed: list[Spec], separator: str) -> None:
    assert [parse_spec(item) for item in split_list(separator.join(map(str, listed)))] == listed


@thorough
@given(st.text(max_size=20))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        spec = parse_spec(text)
    except UsageError:
        return
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gru", Spec("gru")),
        ("mamba[layers=2,width=64]", Spec("mamba", {"layers": 2, "width": 64})),
        ("pythia-160m@step1000", Spec("pythia-160m", {}, "step1000")),
        ("a@b[c=1]", Spec("a", {"c": 1}, "b")),
        ("a[c=1]@b", Spec("a", {"c": 1}, "b")),
        ("acme/flipflop[x=true]", Spec("acme/flipflop", {"x": True})),
        ("m[x=1e-3,y=[1,2],z=word]", Spec("m", {"x": 1e-3, "y": [1, 2], "z": "word"})),
        ("ar[small]", Spec("ar", {"preset": "small"})),
        ("ar[keys=9,8192]", Spec("ar", {"preset": "8192", "keys": 9})),
        ("m[path=a=b]", Spec("m", {"path": "a=b"})),
        ('m[text="a, b]"]', Spec("m", {"text": "a, b]"})),
        ("m[when=2020-01-01]", Spec("m", {"when": "2020-01-01"})),
        ("hf:sshleifer/tiny-gpt2@main", Spec("hf:sshleifer/tiny-gpt2", {}, "main")),
        ("hf:'odd/a[1]'", Spec("hf:odd/a[1]")),
        ("hf:'odd/a@b'", Spec("hf:odd/a@b")),
        (
            "hf:\"odd/a@b\"@'r[1]'[weights=random]",
            Spec("hf:odd/a@b", {"weights": "random"}, "r[1]"),
        ),
        ("'hf:odd/a b'", Spec("hf:odd/a b")),
        ("hf:odd/'a b'/c", Spec("hf:odd/a b/c")),
        ("m[x=[block_in,state]]", Spec("m", {"x": ["block_in", "state"]})),
        ('m[x=[a b,"c d",1,[e]]]', Spec("m", {"x": ["a", "b", "c d", 1, ["e"]]})),
        ("m[x=[2020-01-01]]", Spec("m", {"x": ["2020-01-01"]})),
        ("m[x=[]]", Spec("m", {"x": []})),
        ("m[x=inf,y=[nan]]", Spec("m", {"x": "inf", "y": ["nan"]})),
    ],
)
def test_examples(text: str, expected: Spec) -> None:
    assert parse_spec(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "[a=1]", "m[a=1", "ma=1]", "m[a.]", "m[a,b]", "m[=1]", "m[a=]", "m[a=1,a=2]", "m@",
        "m]a=1[", "m[a=1]]", "m[[a=1]", "m[a=1][b=2]", "m[1a=2]", "it's", "hf:'x", "''", "m@''",
        'm"\\x"', "m[a=" + 40 * "[" + 40 * "]" + "]",
    ],
)  # fmt: skip
def test_malformed_names_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


@pytest.mark.parametrize(
    "text", ["a[b=1,c", "a]", 'a[b="x]', "it's", 10_000 * "[" + 10_000 * "]", 10_000 * "["]
)
def test_malformed_lists_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="brackets or quotes do not match"):
        split_list(text)


def test_lists_split_at_commas_and_spaces_outside_brackets() -> None:
    assert split_list("a[x=1,y=2], b c,,d") == ["a[x=1,y=2]", "b", "c", "d"]


def test_arguments_are_written_sorted() -> None:
    assert format_args({"b": 1, "a": "x y"}) == 'a="x y",b=1'
    assert format_args({"b": 1, "preset": "8192"}) == "8192,b=1"
    with pytest.raises(UsageError, match="Malformed argument 'small'"):
        parse_assignments("small")
    assert parse_assignments("lr=3e-3,steps=500") == {"lr": 3e-3, "steps": 500}


def test_lists_of_words_are_written_without_quotes() -> None:
    assert format_args({"x": ["block_in", "state"]}) == "x=[block_in,state]"
    assert format_args({"x": ["true", "1", "a b", ""]}) == 'x=["true","1","a b",""]'


@pytest.mark.parametrize("value", ["1" * 5000, 5000 * "[", 30 * "[" + "a" + 30 * "]", "{a" * 900])
def test_values_that_toml_gives_up_on_are_text_or_refused(value: str) -> None:
    try:
        assert parse_assignments(f"x={value}")["x"] is not None
    except UsageError:
        return


def test_a_path_that_needs_quotes_is_told_so() -> None:
    with pytest.raises(UsageError, match=r"into quotes: hf:'odd/a b\[1\]'"):
        parse_spec("hf:odd/a[1]b]")
    with pytest.raises(UsageError, match=r"into quotes: hf:'odd/a b\[1\]'"):
        split_list("hf:odd/a[1")


@dataclass(frozen=True)
class Sample:
    whole: int = 3
    number: float = 0.5
    word: str = "a"
    flag: bool = False
    several: tuple[float, ...] = (1.0,)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"whole": "x"}, "whole='x' of sample must be a whole number, such as 3."),
        ({"whole": True}, "whole=True of sample must be a whole number"),
        ({"number": "fast"}, "must be a finite number, such as 0.5"),
        ({"number": float("nan")}, "must be a finite number"),
        ({"number": 10**400}, "must be a finite number"),
        ({"flag": 1}, "must be true or false. See"),
        ({"word": 1}, "must be a word, such as a."),
        ({"several": 1}, "must be a list of numbers, such as [1.0]"),
        ({"several": ["a"]}, "must be a list of numbers"),
        ({"wrod": "x"}, "Unknown argument 'wrod' of sample. Did you mean 'word'?"),
        ({"word\x1b": "x"}, r"Unknown argument 'word\x1b' of sample."),
        ({"preset": "s"}, "There is no preset 's' of sample."),
    ],
)
def test_what_is_wrong_with_an_argument(args: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        configured(Sample, args, what="sample", see="`x`")
    assert sentence in str(caught.value)


def test_numbers_and_lists_become_what_the_fields_are() -> None:
    made = configured(Sample, {"number": 2, "several": [1, 2.5]}, what="sample", see="`x`")
    assert (made.number, made.several) == (2.0, (1.0, 2.5))
