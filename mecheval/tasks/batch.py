"""Examples as arrays: tokens, targets, variables and roles; and pairs of examples.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included, it is position 0), ``P`` pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

UNSCORED = -100
"""Target of a position that is not scored; the ignore index of torch's cross entropy."""

UNDEFINED = -1
"""Value of a variable at a position where it has none."""

_FIRST = "_first"


def first_of(role: str) -> str:
    """Return the name under which a batch says where the run of positions of a role begins."""
    return role + _FIRST


@dataclass(frozen=True)
class Batch:
    """Examples of one length.

    Attributes:
        tokens_BT: Indices into the task's symbols, int64; column 0 is BOS.
        targets_BT: The right answer after each position, :data:`UNSCORED` where none is asked.
        variables: Latent states by name, each ``(B, T)``, :data:`UNDEFINED` where they have none.
        roles: Named positions, each ``(B,)``; every task gives at least ``readout``. A role is one
            position; or, where :func:`first_of` its name is one too, all from there on up to it, as
            many in every example.
        foil_B: A wrong answer at the readout to hold the right one against, in counterfactuals
            whose change leaves no right one; None where there always is one.
    """

    tokens_BT: np.ndarray
    targets_BT: np.ndarray
    variables: Mapping[str, np.ndarray] = field(default_factory=dict)
    roles: Mapping[str, np.ndarray] = field(default_factory=dict)
    foil_B: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.tokens_BT)

    @property
    def n_positions(self) -> int:
        """Return the number of positions T, BOS included."""
        return self.tokens_BT.shape[1]

    @property
    def end_B(self) -> np.ndarray:
        """Return the number of positions up to the last scored one, 0 where none is."""
        scored_BT = self.targets_BT != UNSCORED
        return np.where(scored_BT.any(1), self.n_positions - scored_BT[:, ::-1].argmax(1), 0)

    def until(self, n_positions: int) -> Batch:
        """Return the first positions of all examples; roles behind them stay as they are."""
        variables = {name: values[:, :n_positions] for name, values in self.variables.items()}
        tokens_BT, targets_BT = self.tokens_BT[:, :n_positions], self.targets_BT[:, :n_positions]
        return Batch(tokens_BT, targets_BT, variables, self.roles, self.foil_B)

    def take(self, index_B: np.ndarray | slice) -> Batch:
        """Return the examples at the given indices (or of a boolean mask)."""
        return Batch(
            self.tokens_BT[index_B],
            self.targets_BT[index_B],
            {name: values[index_B] for name, values in self.variables.items()},
            {name: values[index_B] for name, values in self.roles.items()},
            None if self.foil_B is None else self.foil_B[index_B],
        )

    def target_at(self, role: str) -> np.ndarray:
        """Return the targets at a role, shape ``(B,)``."""
        return self.targets_BT[np.arange(len(self)), self.roles[role]]

    def run_of(self, role: str) -> tuple[np.ndarray, int]:
        """Return where the positions of a role begin, shape ``(B,)``, and how many they are."""
        last_B = self.roles[role]
        first_B = self.roles.get(first_of(role), last_B)
        return first_B, 1 + int((last_B - first_B).max(initial=0))

    def recoded(self, code_C: np.ndarray) -> Batch:
        """Replace symbol indices by a model's token ids, in tokens and targets.

        Args:
            code_C: Token id of every symbol of the task.
        """
        scored = self.targets_BT != UNSCORED
        targets_BT = np.where(scored, code_C[np.where(scored, self.targets_BT, 0)], UNSCORED)
        foil_B = None if self.foil_B is None else code_C[self.foil_B]
        return Batch(code_C[self.tokens_BT], targets_BT, self.variables, self.roles, foil_B)


def concatenate(batches: list[Batch]) -> Batch:
    """Join batches of the same length."""
    first = batches[0]
    foils = [batch.foil_B for batch in batches if batch.foil_B is not None]
    return Batch(
        np.concatenate([batch.tokens_BT for batch in batches]),
        np.concatenate([batch.targets_BT for batch in batches]),
        {k: np.concatenate([batch.variables[k] for batch in batches]) for k in first.variables},
        {k: np.concatenate([batch.roles[k] for batch in batches]) for k in first.roles},
        np.concatenate(foils) if foils else None,
    )


@dataclass(frozen=True)
class Pairs:
    """Clean examples and their counterfactuals: same shape and roles, another answer."""

    clean: Batch
    corrupted: Batch

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.clean)

    @property
    def readout_P(self) -> np.ndarray:
        """Return the position at which the answer is read."""
        return self.clean.roles["readout"]

    @property
    def answers_P(self) -> np.ndarray:
        """Return the clean example's answer at the readout."""
        return self.clean.target_at("readout")

    @property
    def foils_P(self) -> np.ndarray:
        """Return the corrupted example's answer at the readout, or its foil if it has none."""
        answers_P, foil_P = self.corrupted.target_at("readout"), self.corrupted.foil_B
        return answers_P if foil_P is None else np.where(self.answered_P, answers_P, foil_P)

    @property
    def answered_P(self) -> np.ndarray:
        """Say whether the corrupted example has a right answer at the readout."""
        return self.corrupted.target_at("readout") != UNSCORED

    @property
    def changed_P(self) -> np.ndarray:
        """Return the first position at which the two sequences differ."""
        return (self.clean.tokens_BT != self.corrupted.tokens_BT).argmax(1)

    @property
    def source_P(self) -> np.ndarray:
        """Return the first changed position; the last one of a role that is exchanged whole."""
        source_P, roles = self.changed_P, self.clean.roles
        for role, last_P in roles.items():
            if first_of(role) in roles:
                source_P = np.where(source_P == roles[first_of(role)], last_P, source_P)
        return source_P

    def recoded(self, code_C: np.ndarray) -> Pairs:
        """Replace symbol indices by a model's token ids; see :meth:`Batch.recoded`."""
        return Pairs(self.clean.recoded(code_C), self.corrupted.recoded(code_C))


def where_answers_differ(clean: Batch, changed: Batch) -> Batch:
    """Return the changed examples, and the clean ones as they are where the answer stays.

    The answer is that at the readout; or the foil, where the change leaves no answer.
    """
    pairs = Pairs(clean, changed)
    differs_B1 = (pairs.answers_P != pairs.foils_P)[:, None]
    return Batch(
        np.where(differs_B1, changed.tokens_BT, clean.tokens_BT),
        np.where(differs_B1, changed.targets_BT, clean.targets_BT),
        {
            name: np.where(differs_B1, values_BT, clean.variables[name])
            for name, values_BT in changed.variables.items()
        },
        changed.roles,
        changed.foil_B,
    )
