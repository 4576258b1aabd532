"""What is put in the place of an activation: another run's, a mean, zero, or a part of these.

Shape suffixes: ``P`` runs, ``N`` reference runs, ``T`` positions, ``D`` width of a site, ``K``
dimensions of a subspace.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.interventions.activations import activations
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.contract import SequenceModel

Values = Mapping[Site, Tensor]
"""Activations ``(P, T, D)`` by site."""


class Donor(ABC):
    """Gives the activations that are put into the base runs.

    Examples:
        >>> import mecheval
        >>> from mecheval.interventions import Donor
        >>> class Halved(Donor):
        ...     def values(self, model, base, *, batch_size):
        ...         return {site: value_PTD / 2 for site, value_PTD in base.items()}
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> base = [[0, 1, 2, 3]], [5], [6], [3]
        >>> mecheval.ablation_grid(model, *base, donor=Halved()).patched.shape
        (1, 2, 4, 1)
    """

    @abstractmethod
    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return what replaces the base runs' activations, in the same shapes.

        Raises:
            UsageError: The donor does not fit the base runs.
        """

    def prepared(
        self, model: SequenceModel, sites: Sequence[Site], n_positions: int, *, batch_size: int
    ) -> Donor:
        """Return an equal donor that has done what is done once, for all runs of a grid.

        Args:
            model: The model.
            sites: Sites of which :meth:`values` will be asked, and no others.
            n_positions: Number of positions of the base runs.
            batch_size: Rows per forward pass.

        Raises:
            UsageError: The donor does not fit.
        """
        return self

    def take(self, runs: slice | Sequence[int]) -> Donor:
        """Return the donor of some of the base runs."""
        return self

    @property
    def tokens_PT(self) -> Tensor | None:
        """Return the runs that donate, one for each base run, where there are such runs."""
        return None


@dataclass(frozen=True)
class Interchange(Donor):
    """Another run for every base run: its counterfactual, or any other (resample ablation).

    Attributes:
        runs_PT: Token ids, one run for each base run.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import Interchange
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> runs = Interchange(torch.tensor([[0, 4, 2, 3]]))
        >>> base = [[0, 1, 2, 3]], [5], [6], [3]
        >>> mecheval.ablation_grid(model, *base, donor=runs, components=["state"]).patched.shape
        (1, 2, 4, 1)
    """

    runs_PT: Tensor

    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return the activations of these runs."""
        positions = next((value_PTD.shape[1] for value_PTD in base.values()), None)
        return activations(model, self.runs_PT[:, :positions], list(base), batch_size=batch_size)

    def take(self, runs: slice | Sequence[int]) -> Interchange:
        """Return the donors of some of the base runs."""
        return Interchange(self.runs_PT[runs])

    @property
    def tokens_PT(self) -> Tensor:
        """Return the runs that donate."""
        return self.runs_PT


@dataclass(frozen=True)
class Zero(Donor):
    """Zero ablation.

    Examples:
        >>> import mecheval
        >>> from mecheval.interventions import Zero
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> mecheval.ablation_grid(model, [[0, 1, 2, 3]], [5], [6], [3], donor=Zero()).patched.shape
        (1, 2, 4, 1)
    """

    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return zeros."""
        return {site: torch.zeros_like(value_PTD) for site, value_PTD in base.items()}


@dataclass(frozen=True)
class Mean(Donor):
    """Mean ablation: the mean over reference runs at the same position.

    Attributes:
        reference_NT: Token ids of the reference runs, at least as long as the base runs.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import Mean
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> mean = Mean(torch.tensor([[0, 1, 2, 3], [0, 4, 5, 6]]))
        >>> mecheval.ablation_grid(model, [[0, 1, 2, 3]], [5], [6], [3], donor=mean).patched.shape
        (1, 2, 4, 1)
    """

    reference_NT: Tensor

    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return the means, the same for every base run."""
        n_positions = next(iter(base.values())).shape[1]
        whole = self.prepared(model, list(base), n_positions, batch_size=batch_size)
        return whole.values(model, base, batch_size=batch_size)

    def prepared(
        self, model: SequenceModel, sites: Sequence[Site], n_positions: int, *, batch_size: int
    ) -> Donor:
        """Run the reference."""
        if self.reference_NT.dim() != 2 or self.reference_NT.shape[1] < n_positions:
            raise UsageError(
                f"Mean ablation needs reference runs (N, T) of at least {n_positions} positions; "
                f"got {tuple(self.reference_NT.shape)}."
            )
        tokens_NT = self.reference_NT[:, :n_positions]
        sums = _sums(model, tokens_NT, sites, batch_size=batch_size)
        return _Constant({site: sum_TD / len(tokens_NT) for site, sum_TD in sums.items()})


@dataclass(frozen=True)
class _Constant(Donor):
    """The same for every base run.

    Attributes:
        given: By site, ``(T, D)`` in float64.
    """

    given: Values

    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return it in the type of the base runs."""
        return {
            site: self.given[site].to(value_PTD.dtype).expand_as(value_PTD)
            for site, value_PTD in base.items()
        }


@dataclass(frozen=True)
class Added(Donor):
    """Adds to activations what another input of a linear part would change in them.

    Attributes:
        added: What is added at every patched site, ``(P, T, D)``, with at least the positions of
            the base runs; where it is zero the activation stays, bit for bit.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import Added
        >>> from mecheval.models.sites import Site
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> added = Added({Site(layer, "block_in"): torch.ones(1, 4, 16) for layer in range(2)})
        >>> base = [[0, 1, 2, 3]], [5], [6], [3]
        >>> mecheval.ablation_grid(model, *base, donor=added).patched.shape
        (1, 2, 4, 1)
    """

    added: Mapping[Site, Tensor]

    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return the sums."""
        return {
            site: value_PTD + self.added[site][:, : value_PTD.shape[1]].to(value_PTD)
            for site, value_PTD in base.items()
        }

    def take(self, runs: slice | Sequence[int]) -> Added:
        """Return the donor of some of the base runs."""
        return Added({site: added_PTD[runs] for site, added_PTD in self.added.items()})


@dataclass(frozen=True)
class Subspace(Donor):
    """Replaces the part of an activation that lies in a subspace, and keeps the rest.

    Attributes:
        donor: Where that part is taken from.
        bases: A basis ``(D, K)`` of the subspace at every patched site; it need not be orthonormal.

    Examples:
        >>> import mecheval, numpy as np
        >>> from mecheval.interventions import Subspace, Zero
        >>> from mecheval.models.sites import Site
        >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
        >>> bases = {Site(layer, "block_in"): np.eye(16)[:, :2] for layer in range(2)}
        >>> base = [[0, 1, 2, 3]], [5], [6], [3]
        >>> mecheval.ablation_grid(model, *base, donor=Subspace(Zero(), bases)).patched.shape
        (1, 2, 4, 1)
    """

    donor: Donor
    bases: Mapping[Site, np.ndarray]

    def values(self, model: SequenceModel, base: Values, *, batch_size: int) -> Values:
        """Return base + Q Q' (donor - base), with Q orthonormal."""
        given = self.donor.values(model, base, batch_size=batch_size)
        mixed: dict[Site, Tensor] = {}
        for site, value_PTD in base.items():
            if site not in self.bases or len(self.bases[site]) != value_PTD.shape[-1]:
                raise UsageError(
                    f"Subspace patching needs a basis of shape ({value_PTD.shape[-1]}, K) for "
                    f"{site}. Give one for every patched site."
                )
            basis_DK = torch.as_tensor(np.asarray(self.bases[site])).to(value_PTD)
            # In float64, because the vectors of a basis may be almost the same.
            q_DK, _ = torch.linalg.qr(basis_DK.double())
            q_DK = q_DK.to(value_PTD)
            mixed[site] = value_PTD + (given[site] - value_PTD) @ q_DK @ q_DK.T
        return mixed

    def prepared(
        self, model: SequenceModel, sites: Sequence[Site], n_positions: int, *, batch_size: int
    ) -> Subspace:
        """Prepare the donor of the part that is replaced."""
        given = self.donor.prepared(model, sites, n_positions, batch_size=batch_size)
        return replace(self, donor=given)

    def take(self, runs: slice | Sequence[int]) -> Subspace:
        """Return the donor of some of the base runs."""
        return replace(self, donor=self.donor.take(runs))


def _sums(
    model: SequenceModel, tokens_NT: Tensor, sites: Sequence[Site], *, batch_size: int
) -> dict[Site, Tensor]:
    """Add up activations over runs in float64, one batch at a time."""
    sums: dict[Site, Tensor] = {}
    for rows_BT in tokens_NT.to(model.device).split(batch_size):
        for site, value_BTD in activations(model, rows_BT, sites, batch_size=batch_size).items():
            added_TD = value_BTD.double().sum(0)
            sums[site] = sums[site] + added_TD if site in sums else added_TD
    return sums
