"""Rows per second of training a sparse autoencoder, beside other libraries on the same batches.

Run ``python -m benchmarks.dictionaries`` in a checkout; ``pip install -e '.[sae]'`` for the
libraries. Rows are drawn: sums of a few of many directions. All trainers take the same batches in
turn, so that what else the machine does hits them alike, by Adam at one learning rate, and do after
each what their own loops do: note which latents fire, keep the decoder's rows of norm 1. Losses and
first weights are their own, so that *FVE*, of rows that none was trained on, says no more than that
they learn. *dense* is the same autoencoder in a few lines of torch and its autograd.

Shape suffixes: ``N`` rows, ``D`` dimensions, ``M`` latents, ``F`` features, ``B`` rows of a batch.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from benchmarks import machine, measuring
from benchmarks.comparison import one_line
from mecheval.dictionaries.coder import Coder
from mecheval.dictionaries.recipe import DictionaryRecipe
from mecheval.dictionaries.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

N_HELD_OUT, N_WARM = 8192, 2
"""Rows of the last column, and steps that are not timed."""


class Trainer(NamedTuple):
    """One way to train.

    Attributes:
        step: Takes a batch and a learning rate.
        reconstruct: Returns what is made of rows.
    """

    step: Callable[[Tensor, float], object]
    reconstruct: Callable[[Tensor], Tensor]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dictionaries", description=summary)
    parser.add_argument("--width", type=int, default=128, help="dimensions")
    parser.add_argument("--latents", type=int, default=1024)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trainers", default=",".join(TRAINERS), help="which, with commas")
    measuring.add_clock(parser)
    parser.add_argument("--json", help="file for everything that was found")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    torch.set_num_threads(options.threads)
    machine.print_options(options, options.device)
    found = timed(options)
    print("\n".join(report(found)))
    if options.json:
        whole = {"options": vars(options), "machine": machine.describe(options.device)}
        text = json.dumps({**whole, "rows": found}, indent=2)
        Path(options.json).write_text(f"{text}\n", encoding="utf-8")
    return 0


def draw(n_rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw sums of about 12 of ``4 width`` random directions, and noise, float32 ``(N, D)``."""
    rng = np.random.default_rng(seed)
    directions_FD = np.random.default_rng(0).standard_normal((4 * width, width)) / width**0.5
    on_NF = rng.random((n_rows, 4 * width), np.float32) < 12 / (4 * width)
    strength_NF = on_NF * rng.random(on_NF.shape, np.float32)
    noise_ND = 0.05 * rng.standard_normal((n_rows, width), np.float32)
    return strength_NF @ directions_FD.astype(np.float32) + noise_ND


def timed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train all in turn; return a row for each, with the reason where it could not be."""
    device = torch.device(options.device)
    x_ND = torch.from_numpy(draw(4 * options.batch + N_HELD_OUT, options.width)).to(device)
    z_ND = (x_ND - x_ND.mean(0)) / (x_ND - x_ND.mean(0)).square().mean().sqrt()
    batches = z_ND[N_HELD_OUT:].split(options.batch)
    rows, trainers = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries
        for name in options.trainers.split(","):
            make, package = TRAINERS[name]
            rows[name] = {"trainer": name, "version": machine.installed(package) if package else ""}
            try:
                trainers[name] = make(options, device)
                trainers[name].step(batches[0], 0.0)
            except Exception as error:  # a library that fails is a row of the table
                rows[name]["note"] = one_line(error)
                trainers.pop(name, None)
        seconds = _seconds(trainers, batches, options)
        for name, trainer in trainers.items():
            n_rows = (options.steps - N_WARM) * options.batch
            rows[name]["rows_per_second"] = n_rows / seconds[name]
            rows[name]["fve"] = _fve(trainer, z_ND[:N_HELD_OUT])
    return list(rows.values())


def report(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table."""
    first = next((row["rows_per_second"] for row in rows if "rows_per_second" in row), 1.0)
    lines = ["| trainer | version | rows / s | ratio | FVE | |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [row["trainer"], row["version"] or "", "-", "-", "-", row.get("note", "")]
        if "rows_per_second" in row:
            speed = row["rows_per_second"]
            cells[2:5] = f"{speed:,.0f}", f"{speed / first:.2f}", f"{row['fve']:.3f}"
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _seconds(
    trainers: dict[str, Trainer], batches: Sequence[Tensor], options: argparse.Namespace
) -> dict[str, float]:
    """Return the seconds of all steps but the first few."""
    recipe = DictionaryRecipe(n_rows=options.steps * options.batch)
    stopwatch = measuring.Stopwatch(options.device, options.clock)
    seconds = dict.fromkeys(trainers, 0.0)
    for step in range(options.steps):
        rate = recipe.rate(options.latents, step, options.steps)
        batch_BD = batches[step % len(batches)]
        for name, trainer in trainers.items():
            elapsed = stopwatch(lambda trainer=trainer: trainer.step(batch_BD, rate))  # noqa: B023
            seconds[name] += elapsed if step >= N_WARM else 0.0
    return seconds


def _fve(trainer: Trainer, rows_ND: Tensor) -> float:
    with torch.no_grad():
        missed = (rows_ND - trainer.reconstruct(rows_ND)).double().square().sum()
    return 1 - float(missed / (rows_ND - rows_ND.mean(0)).double().square().sum())


def _own(selection: Any) -> Callable[..., Trainer]:
    def make(options: argparse.Namespace, device: torch.device) -> Trainer:
        recipe = DictionaryRecipe(selection=selection)
        coder = Coder.new((options.latents, options.width), options.k, recipe, ("", 0), device)
        zeros_D = torch.zeros(options.width, device=device)
        as_it_is = Statistics(np.empty(0, np.int64), float("inf"), zeros_D, None, 1.0)

        def reconstruct(rows_ND: Tensor) -> Tensor:
            threshold = coder.threshold([rows_ND]) if selection == "batchtopk" else None
            dictionary = coder.finished(as_it_is, threshold, {})
            found_ND = dictionary.decode(dictionary.encode(rows_ND))
            return torch.from_numpy(found_ND).to(device)

        return Trainer(coder.step, reconstruct)

    return make


def _adam(
    weights: Sequence[Tensor], before: Callable[[], None] = lambda: None
) -> Callable[[Tensor, float], None]:
    """Return a function that takes a step down a loss; ``before`` may change gradients."""
    optimizer = torch.optim.Adam(weights, fused=True)

    def down(loss: Tensor, rate: float) -> None:
        optimizer.zero_grad()
        loss.backward()
        before()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()

    return down


def _dense(options: argparse.Namespace, device: torch.device) -> Trainer:
    generator = torch.Generator().manual_seed(0)
    drawn_MD = torch.randn((options.latents, options.width), generator=generator)
    decoder_MD = (drawn_MD / drawn_MD.norm(dim=1, keepdim=True)).to(device)
    zeros = (torch.zeros(n, device=device) for n in (options.latents, options.width))
    weights = [w.requires_grad_() for w in (0.58 * decoder_MD, decoder_MD, *zeros)]
    down = _adam(weights)

    def reconstruct(rows_BD: Tensor) -> Tensor:
        encoder_MD, decoder_MD, bias_M, centre_D = weights
        before_BM = torch.addmm(bias_M, rows_BD - centre_D, encoder_MD.T)
        largest = before_BM.topk(options.k, dim=1, sorted=False)
        codes_BM = torch.zeros_like(before_BM).scatter(1, largest.indices, largest.values.relu())
        return torch.addmm(centre_D, codes_BM, decoder_MD)

    def step(rows_BD: Tensor, rate: float) -> None:
        missed = (rows_BD - reconstruct(rows_BD)).square().sum()
        down(missed / (rows_BD - rows_BD.mean(0)).square().sum(), rate)
        with torch.no_grad():
            weights[1] /= weights[1].norm(dim=1, keepdim=True)

    return Trainer(step, reconstruct)


def _sae_lens(name: str, **given: Any) -> Callable[..., Trainer]:
    def make(options: argparse.Namespace, device: torch.device) -> Trainer:
        import sae_lens
        from sae_lens.saes.sae import TrainStepInput

        config = getattr(sae_lens, f"{name}TrainingSAEConfig")(
            d_in=options.width, d_sae=options.latents, k=options.k, device=str(device), **given
        )
        sae = getattr(sae_lens, f"{name}TrainingSAE")(config)
        down = _adam(list(sae.parameters()))
        fired_M = torch.zeros(options.latents, device=device)

        def step(rows_BD: Tensor, rate: float) -> None:
            asked = TrainStepInput(
                sae_in=rows_BD, coefficients={}, dead_neuron_mask=None, n_training_steps=0,
                is_logging_step=False,
            )  # fmt: skip
            found = sae.training_forward_pass(asked)
            fired_M.add_(found.feature_acts.detach().bool().float().sum(0))
            down(found.loss, rate)

        return Trainer(step, sae)

    return make


def _sparsify(options: argparse.Namespace, device: torch.device) -> Trainer:
    if device.type == "cpu":  # it takes triton where that is installed, whatever the device
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig

    config = SparseCoderConfig(num_latents=options.latents, k=options.k)
    coder = SparseCoder(options.width, config, device)
    down = _adam(list(coder.parameters()), coder.remove_gradient_parallel_to_decoder_directions)
    fired_M = torch.zeros(options.latents, dtype=torch.bool, device=device)

    def step(rows_BD: Tensor, rate: float) -> None:
        found = coder(rows_BD)
        fired_M[found.latent_indices.flatten()] = True
        down(found.fvu, rate)
        coder.set_decoder_norm_to_unit_norm()

    return Trainer(step, lambda rows_BD: coder(rows_BD).sae_out)


TRAINERS: dict[str, tuple[Callable[..., Trainer], str]] = {
    "mecheval": (_own("topk"), ""),
    "mecheval batchtopk": (_own("batchtopk"), ""),
    "dense": (_dense, ""),
    "eai-sparsify": (_sparsify, "eai-sparsify"),
    "sae-lens": (_sae_lens("TopK"), "sae-lens"),
    "sae-lens batchtopk": (_sae_lens("BatchTopK"), "sae-lens"),
}
"""What makes a trainer, and the package that it is of."""


if __name__ == "__main__":
    raise SystemExit(main())
