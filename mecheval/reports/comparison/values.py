"""What a comparison consists of: its two sides, and one number on both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Side:
    """One side of a pair: a model on a task by a recipe.

    Attributes:
        side: A or B.
        model: What the model is called.
        task: What the task is called.
        recipe: How it was trained, in words.
        seeds: The seeds that both sides have.
        learned: How many of these seeds passed the gate, and where that lies.
        tracking: How many of them track their state; empty where that was not tested.
    """

    side: str
    model: str
    task: str
    recipe: str
    seeds: tuple[int, ...]
    learned: str
    tracking: str


@dataclass(frozen=True)
class Difference:
    """One number on both sides.

    Attributes:
        task: What the task is called.
        model: What the model is called; ``A -> B`` where the sides have different ones.
        result: The result's id.
        at: The path of the number in it; ``verdict`` for its verdict.
        title: What the number is, for a person.
        kind: How it is written: number, layer, count.
        a: Mean of the first side over the paired seeds; None for verdicts.
        b: Mean of the second side.
        difference: Mean of b - a.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end of it.
        over: What the interval is over: seed, or what is paired within one seed: sequence, pair.
        p: p value of the paired t test; None where there is none.
        p_corrected: The same, corrected for the number of differences.
        n: How many seeds or examples are paired.
        unit: What is paired.
        seeds: The seeds at which both sides have a value.
        verdicts: Verdicts of both sides with their number of seeds, as text.
    """

    task: str
    model: str
    result: str
    at: str
    title: str
    kind: str = "number"
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    over: str | None = None
    p: float | None = None
    p_corrected: float | None = None
    n: int = 0
    unit: str = "seed"
    seeds: tuple[int, ...] = ()
    verdicts: tuple[str, str] | None = None
