"""The induction circuit of a model with attention: paths from units at the value through heads.

Shape suffixes: ``P`` pairs, ``F`` first units, ``U`` last units, ``V`` readouts, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mecheval.interventions.activations import activations
from mecheval.metrics.circuit.gap import Gap
from mecheval.metrics.circuit.head_paths import Paths
from mecheval.metrics.circuit.head_scores import (
    SCORES,
    candidates,
    head_profile,
    least_likely_first,
    scores_of,
)
from mecheval.metrics.circuit.held_layers import Unit
from mecheval.metrics.circuit.named_circuit import named_circuit
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.metrics.subject import Subject
    from mecheval.models.decomposition import Decomposition
    from mecheval.tasks import Pairs


@torch.inference_mode()
def paths_of(subject: Subject, decomposition: Decomposition, kept: Pairs) -> Paths:
    """Run every mixer on both sides of the pairs that count."""
    model = subject.model
    sites = [Site(layer, "block_in") for layer in range(model.n_layers)]

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=model.device)

    def streams(tokens_PT: np.ndarray) -> list[Tensor]:
        read_PT = tensor(tokens_PT[:, : kept.readout_P.max() + 1])
        found = activations(model, read_PT, sites, batch_size=subject.batch_size)
        return [found[site] for site in sites]

    roles = {f"{name}_P": tensor(kept.clean.roles[name]) for name in ("key", "value", "readout")}
    return Paths(
        decomposition,
        (streams(kept.clean.tokens_BT), streams(kept.corrupted.tokens_BT)),
        tokens_PA=tensor(np.stack([kept.answers_P, kept.foils_P], 1)),
        **roles,
    )


@torch.inference_mode()
def head_circuit(
    paths: Paths, gap: Gap, rng: np.random.Generator, *, most: int, least: float
) -> dict[str, Any]:
    """Return the fields of a result on a model with attention.

    Args:
        paths: The paths of the pairs that count.
        gap: Readouts of all pairs.
        rng: Draws resamples.
        most: Most heads at each end of a path.
        least: Least share of the gap for which a circuit is named.
    """
    gap = Gap(gap.clean_P[gap.kept_P], gap.corrupted_P[gap.kept_P], np.ones(gap.n_kept, bool))
    weight_RP, scores = gap.weights(rng), scores_of(paths)
    first, last = candidates(paths, scores, most)
    whole = [Unit(layer, None) for layer in sorted({unit.layer for unit in last})]
    patched_FUP = paths.between(first, [*last, *whole]).cpu().numpy()
    single_FUP, joint_FUP = patched_FUP[:, : len(last)], patched_FUP[:, len(last) :]
    doubtful = (
        least_likely_first(first, scores, "value_to_key"),
        least_likely_first(last, scores, "induction"),
    )
    named = named_circuit(
        gap, weight_RP, (first, last), single_FUP, doubtful,
        lambda f, u: paths.together(f, u).cpu().numpy(), least=least,
    )  # fmt: skip
    direct_VP = paths.direct(paths.units).cpu().numpy()
    return {
        "estimate": named.estimate,
        "verdict": named.verdict,
        "config": named.unwritten,
        "scalars": {
            "agreement": named.agreement,
            "single": named.single,
            "joint": np.nanmax(gap.lost(joint_FUP)),
            "pooled": named.pooled,
            "held_error": _off(paths, gap),
        },
        "profile": gap.profile({"from": first, "to": last}, single_FUP, weight_RP),
        "profiles": {
            **{name: head_profile(scores, name) for name in SCORES},
            "direct": gap.profile({"unit": paths.units}, direct_VP, weight_RP),
            "joint": gap.profile({"from": first, "to": whole}, joint_FUP, weight_RP),
        },
    }


def _off(paths: Paths, gap: Gap) -> float:
    """Return how far the clean readouts computed from parts are from the model's, by the gap."""
    held_P = paths.held().cpu().numpy()
    return float(np.abs(held_P - gap.clean_P).max() / np.abs(gap.gap_P.mean()))
