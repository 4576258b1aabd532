"""Types of parameters that several metrics have; a type says what is allowed, and is checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mecheval.models.sites import COMPONENTS


def _component(name: str) -> str:
    if name not in COMPONENTS:
        raise ValueError(f"among {', '.join(COMPONENTS)}")
    return name


Count = Annotated[int, Field(ge=1)]
"""A number of examples, pairs or draws."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A size that is not negative."""

Share = Annotated[float, Field(gt=0, le=1)]
"""A part of a whole, above 0."""

Component = Annotated[str, AfterValidator(_component)]
"""The name of a component of a site."""

Components = Annotated[tuple[Component, ...], Field(min_length=1)]
"""At least one component."""

Strength = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""The inverse strength of an L2 penalty."""

Strengths = Annotated[tuple[Strength, ...], Field(min_length=1)]
"""Inverse strengths to choose among."""

Lengths = Literal[1, 2, 4]
"""A multiple of the training length: where sequences, probes, erasers and pairs are drawn."""
