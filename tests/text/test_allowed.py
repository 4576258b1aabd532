"""Values that are refused: what they should be, in words that are no programmer's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, ValidationError, create_model

from mecheval.text.allowed import refused


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (bool, 1, "true or false"),
        (int, "x", "a whole number"),
        (float, "x", "a number"),
        (Annotated[float, Field(allow_inf_nan=False)], float("inf"), "a finite number"),
        (str, 1, "text"),
        (tuple[str, ...], "x", "a list, such as [a,b]"),
        (list[int], 3, "a list, such as [a,b]"),
        (dict[str, int], 3, "a table"),
        (Annotated[int, Field(ge=1)], 0, "at least 1"),
        (Annotated[float, Field(gt=0)], 0, "above 0"),
        (Annotated[float, Field(le=1.5)], 2.0, "at most 1.5"),
        (Annotated[int, Field(lt=3)], 3, "below 3"),
        (Annotated[list[int], Field(min_length=1)], [], "a list of 1 or more"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "a list of 1 at most"),
        (Annotated[str, Field(min_length=1)], "", "text of at least 1 characters"),
        (Literal["a", "b"], "c", "'a' or 'b'"),
        (bool | int, "x", "true or false or a whole number"),
        (bool | int | list[str], 1.5, "true or false, a whole number or a list, such as [a,b]"),
    ],
)
def test_what_a_value_should_be(kind: Any, value: Any, expected: str) -> None:
    model = create_model("Model", __config__={"strict": True}, field=(kind, ...))
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"field": value})
    found = refused(caught.value, example="[a,b]")
    assert (found.where, found.expected) == (("field",), expected)
    assert found.said == f"it should be {expected}"


def even(value: Any) -> Any:
    if sum(value if isinstance(value, tuple) else [value]) % 2:
        raise ValueError("the sum must be even.")
    return value


def small(value: int) -> int:
    if value > 8:
        raise AssertionError("must be small")  # as `assert` does
    return value


EVEN = Annotated[tuple[int, ...], AfterValidator(even)]


@pytest.mark.parametrize(
    ("kind", "value", "where", "said"),
    [
        (tuple[int, ...] | EVEN | list[int], ("a",), (0,), "it should be a whole number"),
        (int | tuple[int, ...], (1, "a"), (1,), "it should be a whole number"),
        (int | tuple[int, ...], "a", (), "it should be a whole number or a list"),
        (int | tuple[int, ...] | tuple[str, ...], (0.5,), (0,),
         "it should be a whole number or text"),
        (tuple[int | str, ...], (1, 0.5), (1,), "it should be a whole number or text"),
        (int | EVEN, (1,), (), "the sum must be even"),
        (str | tuple[Annotated[int, AfterValidator(even)], ...], (2, 3), (1,),
         "the sum must be even"),
        (Annotated[int, AfterValidator(small)], 9, (), "must be small"),
        (tuple[tuple[str, int], ...], (("a",),), (0,), "it should be a list of 2"),
        (tuple[tuple[str, int], ...], ((),), (0,), "it should be a list of 2"),
        (str | tuple[str, int], ("a",), (), "it should be text or a list of 2"),
        (tuple[tuple[str, int], ...], (("a", "b"),), (0, 1), "it should be a whole number"),
        (dict[str, int], {"a": "b"}, ("a",), "it should be a whole number"),
        (Literal["a"] | tuple[Literal["a", "b"], ...], ("c",), (0,), "it should be 'a' or 'b'"),
    ],
)  # fmt: skip
def test_it_is_said_of_the_place_that_is_wrong(
    kind: Any, value: Any, where: tuple[Any, ...], said: str
) -> None:
    model = create_model("Model", __config__={"strict": True}, field=(kind, ...))
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"field": value})
    found = refused(caught.value)
    assert (found.where, found.said) == (("field", *where), said)
