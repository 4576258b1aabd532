"""What a suite's claims may hold, as pydantic models; :mod:`mecheval.leaderboard.claims` reads it.

Whatever does not go together is refused here, so that nothing that a claim says is left unread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mecheval.harness.suite_fields import Fields, OptionalSpec, Table, Text, spec

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL = "*"
"""Stands for all models or tasks of a suite, all parts of a metric's results, all inner layers."""

LAYERS = f"layer={ALL}"
"""The word of a path that stands for all inner layers."""


def names_in(claim: Mapping[str, Any], field: str) -> set[str]:
    """Return all models, or all tasks, that a claim names.

    Args:
        claim: The claim, as a file that was checked has it.
        field: ``model`` or ``task``.
    """
    others = [claim.get(name) or {} for name in OTHERS]
    fields = (field, "partner") if field == "model" else (field,)
    return {table.get(each, "") for table in (claim, *others) for each in fields} - {"", ALL}


def _spec_or_all(text: str) -> str:
    return text if text == ALL else spec(text)


def _as_table(given: Any) -> Any:
    """Read text as another model, and empty text as nothing."""
    return ({"model": given} if given else None) if isinstance(given, str) else given


OTHERS = ("minus", "times", "nearer_than", "ranks_with")
"""Fields of a claim that name another number."""

Name = Annotated[str, Field(max_length=2000), AfterValidator(_spec_or_all)]
"""A name with arguments, or all."""


class OtherNumber(Table):
    """Another number: the fields in which it differs from the claim's own."""

    model: OptionalSpec = ""
    """The model, as in a grid."""
    partner: OptionalSpec = ""
    """The other model, of a number of pairs."""
    task: OptionalSpec = ""
    """The task, as in a grid."""
    recipe: Fields = Field(default={})
    """Fields of the recipe that is meant."""
    result: Text = ""
    """The id of the result."""
    at: Text = ""
    """The number in it."""

    @model_validator(mode="after")
    def _differs(self) -> OtherNumber:
        """Check that there is something in which it differs.

        Raises:
            ValueError: There is nothing.
        """
        if not self.model_fields_set:
            raise ValueError(
                "it differs in nothing. Name its model, partner, task, recipe, result or at"
            )
        return self


Other = Annotated[OtherNumber | None, BeforeValidator(_as_table)]


class ClaimTable(Table):
    """What others claim about a number, and how it is held against reports."""

    id: Annotated[str, Field(max_length=20)] = ""
    """What it is called; claims that have one are shown in a longer table."""
    says: Text = ""
    """The claim in words."""
    source: Text = ""
    """Where it is made."""
    paper: Text = ""
    """The number given there, as text."""
    task: Name = ""
    """The task, as in a grid."""
    model: Name = ""
    """The model, as in a grid."""
    partner: OptionalSpec = ""
    """The model that it is held side by side with: the number is one of reports of pairs."""
    recipe: Fields = Field(default={})
    """Fields of the recipe that tell the reports meant from others of the same model and task."""
    result: Text = ""
    """The id of the result in the reports."""
    at: Text = ""
    """The number in it, as :mod:`mecheval.reports.lookup` reads it; its value by default."""
    minus: Other = None
    """Another number, which is subtracted; as text, that of another model."""
    times: Other = None
    """In what another difference of the same kind differs, whose sign is the same or another."""
    nearer_than: Other = None
    """A third number; the claim is about how much nearer ``minus`` is than that."""
    ranks_with: Other = None
    """Another number, which orders cells and layers as this one does."""
    which: Literal["least", "median", "mean", "greatest"] | None = None
    """Which of the numbers of all cells and layers is meant."""
    least: float = -math.inf
    """What the number must be at least for the claim to hold; by default nothing bounds it."""
    most: float = math.inf
    """What it must be at most."""
    off: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """How far from 0 it must be, on whichever side."""
    verdicts: list[Text] = Field(default=[])
    """The verdicts under which the claim holds, in place of numbers."""
    untestable: Text = ""
    """Why it cannot be tested here."""
    command: Text = ""
    """What to run where it cannot be tested here."""

    @model_validator(mode="after")
    def _is_whole(self) -> ClaimTable:
        """Check that there is all that it takes to test the claim.

        Raises:
            ValueError: Something is missing, a bound is no number, or fields contradict others.
        """
        if not self.untestable:
            for name in ("says", "task", "model", "result"):
                if not getattr(self, name):
                    raise ValueError(f'it has no {name}. Write {name} = "..."')
            if not self.model_fields_set & {"least", "most", "off", "verdicts"}:
                raise ValueError(
                    "it has neither least, most, off nor verdicts, so nothing could contradict it. "
                    "Write one of them"
                )
        if not self.least <= self.most or self.least == math.inf or self.most == -math.inf:
            raise ValueError(
                f"its bounds {self.least} and {self.most} leave no number between them. Write "
                "finite ones, of which least is the smaller, and leave out what bounds nothing"
            )
        said = next((said for wrong, said in self._contradictions() if wrong), None)
        if said:
            raise ValueError(said)
        return self

    def _contradictions(self) -> list[tuple[bool, str]]:
        """Return what may not be, with what to say of it."""
        further = {name for name in ("times", "nearer_than", "ranks_with", "which")
                   if getattr(self, name)}  # fmt: skip
        several, named = self._is_of_several(), " and ".join(sorted(further))
        signs = bool(further & {"times", "nearer_than"})
        bounded = self.least > -math.inf or self.most < math.inf
        spread = bool(further & {"ranks_with", "which"})
        return [
            (len(further) > 1, f"it has {named}. Keep one of them"),
            (signs and not self.minus, f"it has {named} without minus. Write minus as well"),
            (bool(self.ranks_with and self.minus), "it has minus and ranks_with. Keep one of them"),
            (bool(self.verdicts) and bool(further or self.off is not None),
             f"it has verdicts and {named or 'off'}, which is about a number. Keep one of them"),
            (self.off is not None and bounded, "it has off beside least or most. Keep one of them"),
            (signs and not self._is_about_a_sign(),
             f"it has {named}, of which only the sign can be tested. Bound it by most = 0.0 or by "
             "least = 0.0 alone"),
            (spread and not several,
             f"it has {named} for one number alone. Write {ALL} for its model, its task, the part "
             f"of its result or its layer, as in {LAYERS}"),
            (several and not spread,
             f"it has {ALL}, for many numbers. Write which of them is meant, as which = \"least\", "
             "or ranks_with"),
            (spread and self._names_another_cell(),
             "another number of many cells must be of the same ones. Name its result or at alone"),
            (bool(self.partner) and (several or spread or bool(self.verdicts)),
             f"it has a partner beside verdicts, {ALL} or {named or 'which'}. A claim about pairs "
             "is about a number of two models that it names"),
            (self._mixes_pairs_with_cells(),
             "another number of it is one of pairs, as it names a partner, and the claim's own is "
             "not. Write partner in the claim"),
            (self._compares_a_number_with_itself(),
             "its times names all in which minus differs, so that nothing is left between the two. "
             "Name there what differs besides"),
        ]  # fmt: skip

    def _is_of_several(self) -> bool:
        numbers = [self, *(other for name in OTHERS if (other := getattr(self, name)))]
        several = any(ALL in each.result or LAYERS in each.at.split() for each in numbers)
        return several or ALL in (self.model, self.task)

    def _mixes_pairs_with_cells(self) -> bool:
        others = [other for name in OTHERS if (other := getattr(self, name))]
        return not self.partner and any(other.partner for other in others)

    def _compares_a_number_with_itself(self) -> bool:
        if self.times is None or self.minus is None:
            return False
        return self.minus.model_fields_set <= self.times.model_fields_set

    def _names_another_cell(self) -> bool:
        others = [other for other in (self.minus, self.ranks_with) if other]
        return any(
            other.model_fields_set & {"model", "partner", "task", "recipe"} for other in others
        )

    def _is_about_a_sign(self) -> bool:
        bounds = [bound for bound in (self.least, self.most) if math.isfinite(bound)]
        return bounds == [0.0] and self.off is None


_OTHER = '{ task = "dyck" }'
EXAMPLES = {
    "recipe": "{ lr = 1e-3 }", "partner": '"mamba"', "verdicts": '["induction"]', "least": "0.9",
    "most": "0.1", "off": "0.0", "which": '"least"', "minus": '{ model = "gru" }', "times": _OTHER,
    "nearer_than": _OTHER, "ranks_with": '{ result = "..." }',
}  # fmt: skip
"""How fields are written, in messages."""
