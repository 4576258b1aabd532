"""A sparse autoencoder of activations: how rows become codes, and codes become rows.

Shape suffixes: ``N`` rows, ``D`` dimensions, ``M`` latents, ``B`` rows of a block, ``E`` firings,
``G`` groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mecheval.dictionaries import exchange
from mecheval.dictionaries.active import Pattern, all_above, largest_of_rows
from mecheval.dictionaries.codes import SparseCodes
from mecheval.dictionaries.quality import Quality, measured
from mecheval.dictionaries.rows import Rows, slices
from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A sparse autoencoder; firings are in the units of the activations.

    With a row ``x``, less the mean of its group where the dictionary has such means, the codes are
    ``f = ReLU(chosen(W_e (x - b_d) + b_e))`` and the row that they stand for is ``W_d' f + b_d``,
    to which the mean is added again.

    Attributes:
        encoder_MD: ``W_e``, float32 as all weights.
        encoder_bias_M: ``b_e``.
        decoder_MD: ``W_d``; rows of norm 1 if it was trained here.
        decoder_bias_D: ``b_d``.
        k: How many latents are chosen of a row, the largest; None where thresholds choose.
        threshold_M: Each latent is chosen above its threshold; None where k are chosen.
        norm_limit: Rows of a larger norm are left out: their codes are empty.
        means_GD: Means of groups, which are taken off first: of groups 0 to G - 2, and last of any
            other. None where nothing is taken off.
        about: What it was trained on and how, where that is known.

    Examples:
        >>> import numpy as np
        >>> import mecheval
        >>> on_NF = np.random.default_rng(0).random((2000, 8)) < 0.2
        >>> x_ND = on_NF @ np.random.default_rng(1).standard_normal((8, 8))
        >>> recipe = mecheval.DictionaryRecipe(n_rows=40_000, batch_size=500)
        >>> dictionary = mecheval.train_dictionary(x_ND, width=2, k=2, recipe=recipe)
        >>> codes = dictionary.encode(x_ND)
        >>> codes.shape, dictionary.decode(codes).shape
        ((2000, 16), (2000, 8))
        >>> quality = dictionary.evaluate(x_ND, codes=codes)
        >>> quality.l0 <= 2, quality.fve > 0.6
        (True, True)
    """

    encoder_MD: Tensor
    encoder_bias_M: Tensor
    decoder_MD: Tensor
    decoder_bias_D: Tensor
    k: int | None = None
    threshold_M: Tensor | None = None
    norm_limit: float = math.inf
    means_GD: Tensor | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_latents(self) -> int:
        """Return how many latents there are."""
        return len(self.encoder_MD)

    @property
    def n_dimensions(self) -> int:
        """Return how many numbers a row has."""
        return self.encoder_MD.shape[1]

    @property
    def device(self) -> torch.device:
        """Return where the weights are, and codes are computed."""
        return self.encoder_MD.device

    def to(self, device: str | torch.device) -> Dictionary:
        """Return the dictionary with its weights on another device."""
        moved = {n: v.to(device) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def encode(self, X_ND: ArrayLike | Tensor, groups_N: ArrayLike | None = None) -> SparseCodes:
        """Return the codes of rows; those of rows that are left out are empty.

        Args:
            X_ND: Activations, as :func:`mecheval.train_dictionary` takes them.
            groups_N: The group of each row, where the dictionary has means of groups.

        Raises:
            UsageError: Rows are not finite, or of another width; or groups are missing.
        """
        rows = self._rows(X_ND, groups_N)
        data, indices, counts = [], [], []
        for where, block_BD in rows.blocks(self.device, self.n_latents):
            kept_B = block_BD.norm(dim=1) <= self.norm_limit
            rest_BD = self.without_means(block_BD, rows.groups_N, where)
            pattern, values_E = self._chosen(rest_BD)
            row_E = pattern.rows_E
            fires_E = (values_E > 0) & kept_B[row_E]
            data.append(values_E[fires_E].cpu().numpy())
            indices.append(pattern.latents_E[fires_E].int().cpu().numpy())
            counts.append(torch.bincount(row_E[fires_E], minlength=len(kept_B)).cpu().numpy())
        ends_N = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        parts = np.concatenate(data), np.concatenate(indices), ends_N
        return SparseCodes.of(sparse.csr_array(parts, shape=(len(rows), self.n_latents)))

    def decode(self, codes: SparseCodes, groups_N: ArrayLike | None = None) -> np.ndarray:
        """Return the rows that codes stand for, float32 ``(N, D)``.

        Args:
            codes: Codes of this dictionary.
            groups_N: The group of each row, where the dictionary has means of groups.

        Raises:
            UsageError: The codes are of another width; or groups are missing.
        """
        self._check_codes(codes)
        out_ND = np.empty((codes.shape[0], self.n_dimensions), np.float32)
        found = self._rows(out_ND, groups_N) if len(out_ND) else Rows(out_ND)
        for where in slices(len(out_ND), self.n_dimensions, self.device):
            rest_BD = self.explained(codes, where)
            means_BD = self._means(found.groups_N, where)
            out_ND[where] = (rest_BD if means_BD is None else rest_BD + means_BD).cpu().numpy()
        return out_ND

    def evaluate(
        self,
        X_ND: ArrayLike | Tensor,
        groups_N: ArrayLike | None = None,
        codes: SparseCodes | None = None,
    ) -> Quality:
        """Measure how good the dictionary is, over all rows that are given together.

        Args:
            X_ND: Activations that it was not trained on.
            groups_N: The group of each row, such as its token: how much of the variance groups
                explain is measured too.
            codes: Their codes, if there are some already.

        Raises:
            UsageError: What :meth:`encode` raises; or the codes are not of these rows.
        """
        rows = self._rows(X_ND, groups_N)
        if codes is None:
            codes = self.encode(X_ND, groups_N)
        self._check_codes(codes, len(rows))
        return measured(self, rows, codes)

    def save(self, folder: str | Path) -> None:
        """Write the dictionary in the format of sae-lens, which reads it with ``load_from_disk``.

        What sae-lens does not know, it does not do: rows of too large a norm have codes there, and
        means of groups (``group_means.safetensors``, then) have to be taken off before.

        Raises:
            StorageError: It cannot be written.
        """
        exchange.write(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Dictionary:
        """Read what :meth:`save` wrote, or sae-lens: TopK, JumpReLU (its BatchTopK) and ReLU.

        Args:
            folder: Holds ``cfg.json`` and ``sae_weights.safetensors``.
            device: Where the weights are wanted.

        Raises:
            StorageError: It holds no dictionary, or one whose codes are made in another way.
        """
        return cls(**exchange.read(Path(folder))).to(device)

    def explained(self, codes: SparseCodes, where: slice) -> Tensor:
        """Return what codes of some rows stand for without means of groups, ``(B, D)``."""
        csr = codes.csr[where]
        to = {"device": self.device, "dtype": torch.int64}
        ends_R, latents_E = (torch.from_numpy(part).to(**to) for part in (csr.indptr, csr.indices))
        values_E = torch.from_numpy(csr.data).to(self.device)
        pattern = Pattern(latents_E, ends_R, self.n_latents)
        return pattern.combined(values_E, self.decoder_MD) + self.decoder_bias_D

    def without_means(self, block_BD: Tensor, groups_N: np.ndarray | None, where: slice) -> Tensor:
        """Return rows less the means of their groups, where the dictionary has such means."""
        means_BD = self._means(groups_N, where)
        return block_BD if means_BD is None else block_BD - means_BD

    def _chosen(self, rest_BD: Tensor) -> tuple[Pattern, Tensor]:
        centred_BD = rest_BD - self.decoder_bias_D
        before_BM = torch.addmm(self.encoder_bias_M, centred_BD, self.encoder_MD.T)
        if self.threshold_M is not None:
            return all_above(before_BM, self.threshold_M)
        return largest_of_rows(before_BM, self.k or self.n_latents)

    def _means(self, groups_N: np.ndarray | None, where: slice) -> Tensor | None:
        if self.means_GD is None or groups_N is None:
            return None
        group_B = np.minimum(groups_N[where], len(self.means_GD) - 1)
        return self.means_GD[torch.from_numpy(group_B).to(self.device)]

    def _rows(self, X_ND: Any, groups_N: Any) -> Rows:
        rows = Rows.of(X_ND, groups_N)
        if rows.n_dimensions != self.n_dimensions:
            raise UsageError(
                f"This dictionary is of rows of {self.n_dimensions} numbers; got "
                f"{rows.n_dimensions}."
            )
        if self.means_GD is not None and groups_N is None:
            raise UsageError(
                "This dictionary is of what is left of rows without the mean of their group: give "
                "groups_N, the group of each row."
            )
        return rows

    def _check_codes(self, codes: SparseCodes, n_rows: int | None = None) -> None:
        wanted = codes.shape[0] if n_rows is None else n_rows, self.n_latents
        if codes.shape != wanted:
            raise UsageError(
                f"Codes of these rows and this dictionary are of shape {wanted}; got {codes.shape}."
            )
