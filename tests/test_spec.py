"""The bracket grammar: what is written reads back, and what is malformed is refused."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mecheval.errors import UsageError
from mecheval.spec import Spec, format_args, parse_assignments, parse_spec, split_list

names = st.text(string.ascii_letters + string.digits + "-_./:", min_size=1)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(['a"b', "a'b", "a]b", "[", "x=y", "a,b", " ", "\\", "2020-01-01", "{a=1}"])
)
values = scalars | st.lists(scalars, max_size=4)
specs = st.builds(
    Spec,
    names,
    st.dictionaries(keys | st.just("preset"), values, max_size=4),
    st.none() | st.text(string.ascii_letters + string.digits + "-_./", min_size=1),
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
    ],
)
def test_examples(text: str, expected: Spec) -> None:
    assert parse_spec(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "[a=1]", "m[a=1", "ma=1]", "m[a.]", "m[a,b]", "m[=1]", "m[a=]", "m[a=1,a=2]", "m@",
        "m]a=1[", "m[a=1]]", "m[[a=1]", "m[a=1][b=2]", "m[1a=2]",
    ],
)  # fmt: skip
def test_malformed_names_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


@pytest.mark.parametrize("text", ["a[b=1,c", "a]", 'a[b="x]'])
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
