"""Probes at all layers with their controls, against scikit-learn without controls.

Run ``python -m benchmarks.probes`` in a checkout. Features are drawn: 12 layers x 2000 training
examples x 768, with six classes that come apart from layer to layer. Activations hold most of their
variance in few directions, so that the variance of the k-th principal direction falls as 1 / k; the
second table has white features, with which an optimiser has the least to do.

* *scikit-learn, one fit per layer*: ``StandardScaler`` and ``LogisticRegression()`` with L-BFGS at
  its default strength. No strength is chosen, and nothing is controlled.
* *scikit-learn, three fits per layer*: the same at the strengths among which mecheval chooses, and
  the choice by accuracy on the validation examples.
* *ridge probes*: mecheval's probes of the true labels, of the states of 20 random automata and of
  20 shuffles of the labels; one factorisation per layer serves all of them.
* *readability*: all that the metric asks of a network at these layers: logistic probes at three
  strengths of which validation examples choose one, and those ridge probes.

Everyone scales the features and is scored on 1000 test examples.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import machine, measuring
from mecheval.metrics.probe.controls import LabelSets
from mecheval.metrics.probe.probe_data import Examples, ProbeData
from mecheval.metrics.probe.probe_scores import score_controls, score_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STRENGTHS = (0.03, 1.0, 30.0)
"""The defaults of the metric ``readability``."""

SIZES = {"train": 2000, "validation": 500, "test": 1000}
FEATURES = {"falling as 1 / k": 1.0, "white": 0.0}
"""By which power of k the variance of the k-th principal direction falls."""

N_TOKENS, N_POSITIONS = 16, 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probes", description=summary)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--controls", type=int, default=20, help="draws of each control")
    measuring.add_clock(parser)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; least times count")
    parser.add_argument("--json", help="file for everything that was found")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    found: dict[str, Any] = {"options": vars(options), "machine": machine.describe()}
    with threadpool_limits(options.threads):
        for name, decay in FEATURES.items():
            data = draw(options.layers, options.width, options.classes, decay=decay)
            found[name] = compare(data, options.controls, options.repeats, options.clock)
            print("\n".join(report(name, found[name])), flush=True)
    if options.json:
        Path(options.json).write_text(f"{json.dumps(found, indent=2)}\n", encoding="utf-8")
    return 0


def draw(n_layers: int, width: int, n_classes: int, *, decay: float, seed: int = 0) -> ProbeData:
    """Draw features of classes whose means move apart from layer to layer.

    Args:
        n_layers: Number of layers; at the first the classes are equal.
        width: Number of features.
        n_classes: Number of classes.
        decay: By which power of k the variance of the k-th principal direction falls.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    scale_D = np.arange(1, width + 1) ** (-decay / 2)
    labels = {split: rng.integers(n_classes, size=n) for split, n in SIZES.items()}
    streams: dict[str, list[np.ndarray]] = {split: [] for split in SIZES}
    for layer in range(n_layers):
        axes_DD = np.linalg.qr(rng.standard_normal((width, width)))[0]
        decomposition = 0.25 * layer / max(1, n_layers - 1)
        means_SD = decomposition * rng.standard_normal((n_classes, width))
        for split, labels_N in labels.items():
            noise_ND = rng.standard_normal((len(labels_N), width))
            features_ND = (noise_ND + means_SD[labels_N]) * scale_D @ axes_DD
            streams[split].append(features_ND.astype(np.float32))
    splits = {
        split: Examples(
            np.stack(streams[split]),
            labels_N,
            rng.integers(N_TOKENS, size=(n, N_POSITIONS)),
            rng.integers(N_POSITIONS, size=n),
        )
        for (split, labels_N), n in zip(labels.items(), SIZES.values(), strict=True)
    }
    return ProbeData(splits, tuple(range(n_classes)))


def compare(
    data: ProbeData, n_controls: int, repeats: int, clock: str = "wall"
) -> dict[str, dict[str, Any]]:
    """Time everyone in turn, some rounds over.

    Returns:
        For every row its number of fits, its least time in seconds, and the mean test accuracy of
        the true labels over layers.
    """

    def sets() -> LabelSets:
        return LabelSets.draw(data, n_controls, np.random.default_rng(0))

    stopwatch = measuring.Stopwatch(clock=clock)
    n_sets = 1 + 2 * n_controls
    runs: dict[str, tuple[int, Callable[[], float]]] = {
        "scikit-learn, one fit per layer": (1, lambda: scikit_learn(data, (1.0,))),
        "scikit-learn, three fits per layer": (3, lambda: scikit_learn(data, STRENGTHS)),
        "mecheval, ridge probes": (
            n_sets,
            lambda: float(score_controls(data, sets()).ridge_L.mean()),
        ),
        "mecheval, readability": (
            n_sets + len(STRENGTHS),
            lambda: float(score_layers(data, STRENGTHS, sets()).accuracy_L.mean()),
        ),
    }
    found: dict[str, dict[str, Any]] = {
        name: {"fits": data.n_layers * fits, "seconds": np.inf} for name, (fits, _) in runs.items()
    }
    for number in range(repeats):
        print(f"  round {number + 1} of {repeats}", file=sys.stderr, flush=True)
        for name, (_, run) in runs.items():
            row = found[name]

            def timed(run: Callable[[], float] = run, row: dict[str, Any] = row) -> None:
                row["accuracy"] = run()

            row["seconds"] = min(row["seconds"], stopwatch(timed))
    return found


def scikit_learn(data: ProbeData, strengths: Sequence[float]) -> float:
    """Fit scikit-learn's probe at every layer, choose strengths; return the mean test accuracy."""
    accuracies = []
    for layer in range(data.n_layers):
        train, validation, test = (data.layer(split, layer) for split in SIZES)
        scaled = StandardScaler().fit(train.features_ND)
        train_ND = scaled.transform(train.features_ND)
        models = []
        for strength in strengths:
            models.append(LogisticRegression(C=strength, max_iter=1000))
            models[-1].fit(train_ND, train.labels_N)
        if len(models) > 1:
            validation_ND = scaled.transform(validation.features_ND)
            models.sort(key=lambda model: -model.score(validation_ND, validation.labels_N))
        accuracies.append(models[0].score(scaled.transform(test.features_ND), test.labels_N))
    return float(np.mean(accuracies))


def report(name: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the table of one kind of features, line by line."""
    baseline = found["scikit-learn, one fit per layer"]["seconds"]
    return [
        f"## Variance of principal directions: {name}",
        "",
        "| probes | fits | s | of scikit-learn's one fit per layer | test accuracy |",
        "|---|---|---|---|---|",
        *(
            f"| {probes} | {row['fits']} | {row['seconds']:.2f} | {row['seconds'] / baseline:.2f} "
            f"| {row['accuracy']:.3f} |"
            for probes, row in found.items()
        ),
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
