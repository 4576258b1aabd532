"""Dictionary: how well a sparse autoencoder stands in for what a network holds.

A TopK dictionary is trained on a site at training sequences and measured at test sequences; then
what it makes of the site is put in its place at all positions, and the loss says what is lost.

Shape suffixes: ``K`` depths, ``U`` sequences, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

import numpy as np

from mecheval.errors import UnvariedError
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.pairs.depths import depths_of
from mecheval.metrics.pairs.network import Loaded
from mecheval.metrics.pairs.places import NOTHING_LEFT, Component, Of, draw_places
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.dictionaries import Dictionary, Quality
    from mecheval.metrics.dictionary.replacement import Losses
    from mecheval.metrics.pairs.coding import Coding
    from mecheval.metrics.pairs.network import Network
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult

STREAM, CONTEXT = KINDS = tuple(get_args(Of)[::-1])


@metric(
    name="dictionary",
    version=1,
    family="feature",
    caption="how much of the variance of what a network holds a sparse dictionary explains, of all "
    "of it (stream) and of what it holds beyond the current symbol (context); and how much of the "
    "loss is recovered where the dictionary's reconstruction stands in its place at all positions: "
    "1 for the site as it is, 0 for its mean.",
    headline=(
        Column("{part}: variance explained"),
        Column(
            "{part}: loss recovered", at="loss_recovered", bounds=(None, None),
            otherwise="the loss is no higher with the mean in place",
        ),
        Column("{part}: share alive", at="alive", bounds=(0.0, 1.0)),
    ),
    part="kind",
)  # fmt: skip
@dataclass(frozen=True, kw_only=True)
class DictionaryQuality(Metric):
    """Variance that sparse dictionaries of a network explain, and loss that they recover.

    At each depth two TopK dictionaries are trained on what the network holds at training sequences:
    ``stream`` of that as it is, ``context`` of what is left without the mean of the current symbol.
    They are measured at test sequences; the value is the fraction of variance explained, ``1 - sum
    |x - x^|^2 / sum |x - mean|^2`` of sums over all places, the mean over depths. For ``context``
    both sums are of what is left without means of symbols.

    ``loss_recovered`` puts the reconstruction in the place of the site at all positions of other
    test sequences: ``(mean - dictionary) / (mean - clean)`` with the losses of the mean of all
    training rows in its place, of the reconstruction, and of the site as it is, from 0 to 1 and
    sometimes beyond; its interval is a bootstrap over sequences. ``loss_recovered_from_zero`` has
    zeros at the lower end. ``loss_recovered_by_symbols`` is that of the means of symbols, which is
    what a table of tokens recovers: a dictionary that recovers no more has found the token alone.
    The means of symbols are part of what ``context`` puts in place.

    ``l0``: latents that fire at a place. ``alive``: share of latents that fire at 25 places or
    more. ``symbol_share``: share of the variance of the site that the current symbol explains;
    ``latent_symbol_share`` the same of the latents, their median. ``left_out``: share of places
    whose norm is above ten medians; they are not counted, and stay as they are when the others are
    replaced (``stayed``: their share there), as the first position of every sequence does.

    An untrained network's dictionary explains as much and more: read the value beside another's of
    the same recipe. There is no interval of it: over sequences it would say nothing of other
    dictionaries or seeds.

    ``component``: ``block_out`` is the residual stream. ``write`` is what a position writes into
    the memory of the mixer, ``state`` that memory after a position, without the last inputs of a
    short convolution: their tensors are flattened, one behind the other. Where a row is too wide
    for a gibibyte of training rows, some of its numbers are drawn, and the others stay as they are.
    In the test by replacement every position writes the reconstruction; or reads it, in the place
    of what the position before it left.

    Null where the task was not learned, where a layer has no such memory (attention remembers more
    with every position), and where a site holds the current symbol and nothing else, as what the
    first layer writes may be.

    Attributes:
        n: Test sequences that are encoded.
        n_train: Training sequences that dictionaries are trained on.
        per_sequence: Most positions in each.
        n_rows: Rows that a dictionary is trained on, the same ones again where there are fewer; a
            limit on examples that cuts ``n_train`` cuts them in proportion.
        width: Latents for every number of a row.
        k: Latents that fire at a position.
        depths: Most depths; no more than the model has layers.
        n_loss: Test sequences of the loss.
        component: The site.
    """

    n: Count = 2048
    n_train: Count = 8192
    per_sequence: Count = 64
    n_rows: Count = 500_000
    width: Count = 8
    k: Count = 16
    depths: Count = 2
    n_loss: Count = 256
    component: Component = "block_out"

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result for each kind of dictionary; their units are depths."""
        n_depths = min(self.depths, subject.model.n_layers)
        return [Layout(of, f"{of}: variance explained", n_depths, (None, 1.0)) for of in KINDS]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Train both kinds at every depth, measure them, and put them in the site's place."""
        n_layers, network = subject.model.n_layers, _network(subject)
        depths = depths_of(n_layers, n_layers, self.depths)
        layers = [depth.layer_a for depth in depths]
        codings = _codings(self, subject)
        layouts = self.outline(subject)
        refused, warnings = codings[0].looked_at([(network, layers)])
        if refused:
            return [self.result(layout, Estimate(None, reason=refused), 0) for layout in layouts]
        places = draw_places(subject.task, subject.cut(self.n), self.per_sequence)
        try:
            dictionaries = network.dictionaries(codings, layers)
        except UnvariedError:
            none = Estimate(None, reason=NOTHING_LEFT)
            return [self.result(layout, none, 0) for layout in layouts]
        qualities = network.qualities(codings, places, layers)
        costs = _losses(self, subject, layers, dictionaries, codings[0].n_numbers)
        index = {"depth": [str(depth) for depth in depths]}
        return [
            _result(self, layout, of, costs, index, warnings)
            for layout, of in zip(layouts, qualities, strict=True)
        ]


def _network(subject: Subject) -> Network:
    """Return what gives what the model holds: from the cache, where something is kept there."""
    if subject.kept is not None:
        return subject.kept(subject)
    code_C = subject.encoding.code_C
    return Loaded(subject.model, subject.untrained, code_C, subject.batch_size)


def _codings(asked: DictionaryQuality, subject: Subject) -> list[Coding]:
    """Return the dictionaries of both kinds, which are trained on the same rows."""
    from mecheval.metrics.pairs.coding import Coding  # imports torch

    n_train = subject.cut(asked.n_train)
    n_rows = max(1, asked.n_rows * n_train // asked.n_train)
    training = draw_places(subject.task, n_train, asked.per_sequence, "train")
    return [Coding(of, training, asked.width, asked.k, n_rows, asked.component) for of in KINDS]


def _losses(
    asked: DictionaryQuality,
    subject: Subject,
    layers: Sequence[int],
    dictionaries: Sequence[Sequence[Dictionary]],
    n_numbers: int | None,
) -> list[Losses]:
    """Measure the loss at every depth with everything in place that it is held against."""
    from mecheval.metrics.dictionary.replacement import (
        Replaced,
        ablations,
        losses,
        reconstruction,
    )
    from mecheval.metrics.pairs.recording import numbers_of, row_widths

    widths = cast("list[int]", row_widths(subject.model, layers, asked.component))
    replaced = [
        Replaced(
            layer - 1,
            asked.component,
            numbers_of(width, n_numbers),
            stream.norm_limit,
            {
                **ablations(context),
                STREAM: reconstruction(stream),
                CONTEXT: reconstruction(context),
            },
        )
        for layer, width, stream, context in zip(layers, widths, *dictionaries, strict=True)
    ]
    return losses(subject, asked.n_loss, replaced)


def _result(
    asked: DictionaryQuality,
    layout: Layout,
    qualities: Sequence[Quality],
    costs: Sequence[Losses],
    index: dict[str, list[str]],
    warnings: list[str],
) -> MetricResult:
    """Average over depths."""
    from mecheval.metrics.dictionary.recovered import recovered

    found = recovered(costs, layout.part)
    fve = [each.fve for each in qualities]
    value = _mean(fve)
    series = {
        **{name: [getattr(each, of) for each in qualities] for name, of in _BESIDE.items()},
        **{f"loss_{name}": [of.mean(name) for of in costs] for name in costs[0].nats},
        "loss_recovered": found.at_depths,
    }
    scalars = {
        **{name: _mean(series[name]) for name in _BESIDE},
        "left_out": _mean(
            [each.n_left_out / (each.n_left_out + each.n_rows) for each in qualities]
        ),
        **found.scalars,
    }
    return asked.result(
        layout,
        Estimate(value, reason=None if value is not None else "what the site holds does not vary"),
        len(qualities) if value is not None else 0,
        scalars=scalars,
        references={"symbol": scalars["symbol_share"]} if layout.part == STREAM else {},
        profile=profile(index, _numbers(fve), series={n: _numbers(v) for n, v in series.items()}),
        missing={} if found.reason is None else {"loss_recovered": found.reason},
        warnings=warnings,
    )


_BESIDE = {
    "l0": "l0", "alive": "alive", "symbol_share": "group_share",
    "latent_symbol_share": "latent_group_share",
}  # fmt: skip
"""Numbers beside the value, and what a quality calls them, which knows symbols as groups."""


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, None where one is undefined."""
    mean = float(np.mean(_numbers(values)))
    return mean if np.isfinite(mean) else None
