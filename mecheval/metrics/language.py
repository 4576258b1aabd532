"""Language: what the next token of held-out text costs a model, in nats and in bits per byte.

Shape suffixes: ``W`` windows, ``T`` positions (BOS included), ``A`` answer tokens, ``C`` token ids,
``N`` tokens asked for, ``U`` documents, ``R`` resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from scipy.special import logsumexp

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import HeldOutText
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.tokenized import FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile
    from mecheval.tasks import Batch
    from mecheval.tasks.text_task import TextTask
    from mecheval.tasks.tokenized import Tokenized

_LOGITS = 1 << 24  # that are kept at once

LOSS, BITS, GAIN = "loss", "bits_per_byte", "in_context_gain"


class _Kind(NamedTuple):
    title: str
    unit: str
    bounds: tuple[float | None, float | None]


KINDS = {
    LOSS: _Kind("held-out loss", "nats per token", (0.0, None)),
    BITS: _Kind("held-out loss per byte", "bits per byte", (0.0, None)),
    GAIN: _Kind("in-context gain", "nats per token", (None, None)),
}


@metric(
    name="language",
    version=1,
    family="behaviour",
    caption="what the next token of held-out text costs on average, and how much less it does "
    "behind a long context than behind a short one; the floor is the best table of up to three "
    "tokens, fitted on the training text.",
    needs=(HeldOutText(),),
    part="factor",
    headline=(
        Column("loss (nats per token)", of=f"{LOSS}/1x"),
        Column("bits per byte", of=f"{BITS}/1x"),
        Column("in-context gain (nats per token)", of=f"{GAIN}/1x"),
        Column("loss at {part} the length", of=f"{LOSS}/[!1]*x"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Language(Metric):
    """Loss on held-out text, in nats per token and bits per byte, and what a long context gains.

    Windows lie one behind the other, spread evenly over the test documents where ``n`` does not
    take them all; each of their tokens is asked for once. The loss is ``-log p`` of the token among
    all tokens of the text (the probability that a model gives to BOS and to the end of a document
    is shared out). Bits per byte are all nats over ``log 2`` and over the bytes of all tokens asked
    for. The in-context gain is the mean loss at the first ``early`` tokens of a window minus that
    from token ``late`` on. Intervals are a bootstrap over documents.

    Floors are tables of one, two and three tokens that back off to shorter ones by interpolated
    absolute discounting (Chen and Goodman 1998), fitted on the training documents and scored on the
    very tokens that the model is scored on; they know the tokens before a window as well.
    ``below_trigram`` and the like say by how much the loss is below one, ``beyond_trigram`` by how
    much the gain is above its.

    Attributes:
        n: Windows at the training length; of longer ones as many fewer as they are longer.
        early: Tokens at the beginning of a window.
        late: Where its rest begins, counted from 1.
    """

    n: Count = 1024
    early: Count = 10
    late: Count = 100

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Measure all three at every test length."""
        results = []
        for factor, length in subject.task.test_lengths.items():
            n = -(-self.n // int(factor.removesuffix("x")))
            results += _at_length(self, subject, factor, length, subject.cut(n))
        return results


class _Term(NamedTuple):
    """One ratio of sums over documents, ``(U,)`` each, which is added or taken away."""

    sign: int
    above_U: np.ndarray
    below_U: np.ndarray


class _Scored(NamedTuple):
    """Windows of the test documents, all ``(W, T)``.

    Attributes:
        document_WT: Which document is asked about, counted from 0 among those that are.
        byte_WT: How many bytes the token asked for has.
        asked_WT: Where something is asked.
        n_answers: How many different tokens there are.
    """

    document_WT: np.ndarray
    byte_WT: np.ndarray
    asked_WT: np.ndarray
    n_answers: int

    def terms(self, kind: str, nats_WT: np.ndarray, metric: Language) -> list[_Term]:
        """Return what makes up a number, of any loss at these tokens."""
        if kind == LOSS:
            return [self._term(1, nats_WT, np.ones_like(nats_WT), self.asked_WT)]
        if kind == BITS:
            return [self._term(1, nats_WT / math.log(2), self.byte_WT, self.asked_WT)]
        position_T = np.arange(nats_WT.shape[1])
        early_WT = self.asked_WT & (position_T <= metric.early)
        late_WT = self.asked_WT & (position_T >= metric.late)
        one_WT = np.ones_like(nats_WT)
        return [self._term(1, nats_WT, one_WT, early_WT), self._term(-1, nats_WT, one_WT, late_WT)]

    def _term(
        self, sign: int, above_WT: np.ndarray, below_WT: np.ndarray, where_WT: np.ndarray
    ) -> _Term:
        document_X, n = self.document_WT[where_WT], 1 + self.document_WT[self.asked_WT].max()
        sums = (np.bincount(document_X, of[where_WT], n) for of in (above_WT, below_WT))
        return _Term(sign, *sums)


def _at_length(
    metric: Language, subject: Subject, factor: str, length: int, n: int
) -> list[MetricResult]:
    text = cast("TextTask", subject.task).text
    start_W = text.spread("test", n, length)
    batch, scored = _scored(text, start_W, length)
    n_documents = 1 + int(scored.document_WT[scored.asked_WT].max())
    layouts = {
        kind: Layout(factor, f"{title} at {factor}", n_documents, low_high, kind == GAIN, kind)
        for kind, (title, _, low_high) in KINDS.items()
    }
    config, too_long = {"length": length}, subject.too_long(length)
    if too_long:
        missing = Estimate(None, reason=too_long)
        return [metric.result(layout, missing, 0, config=config) for layout in layouts.values()]
    nats_WT = _nats(subject, batch.recoded(subject.encoding.code_C))
    tables = text.floors("test", start_W, length)
    results = []
    for kind, layout in layouts.items():
        of_model, *of_tables = (
            scored.terms(kind, of_WT, metric) for of_WT in (nats_WT, *tables.values())
        )
        floors = dict(zip(tables, map(_value, of_tables), strict=True))
        further = _references(kind, floors, scored, metric)
        further["scalars"] = _beside(kind, _value(of_model), floors)
        if kind == LOSS:
            further["profile"] = _by_position(nats_WT, tables, scored.asked_WT)
        rng = subject.stream("bootstrap", kind, factor)
        results.append(_result(metric, layout, of_model, rng, config=config, **further))
    return results


def _scored(text: Tokenized, start_W: np.ndarray, length: int) -> tuple[Batch, _Scored]:
    """Return windows of the test documents in the task's symbols, and what is asked in them."""
    batch = text.windows("test", start_W, length)
    asked_WT = batch.targets_BT != UNSCORED
    number_WT = text.documents("test", start_W, length)
    document_WT = np.searchsorted(np.unique(number_WT[asked_WT]), number_WT)
    byte_WT = text.bytes_C[np.where(asked_WT, batch.targets_BT, 0)]
    return batch, _Scored(document_WT, byte_WT, asked_WT, len(text.symbols) - FIRST)


def _nats(subject: Subject, batch: Batch) -> np.ndarray:
    """Return what every token that is asked for costs, ``(W, T)``; NaN elsewhere.

    Args:
        subject: The model.
        batch: The windows in the model's token ids.
    """
    from mecheval.interventions import answer_logits  # imports torch

    answers_A, nats = subject.answers_A, np.full(batch.tokens_BT.shape, np.nan)
    place_C = np.zeros(1 + answers_A.max(), np.int64)
    place_C[answers_A] = np.arange(len(answers_A))
    size = max(1, min(subject.batch_size, _LOGITS // (batch.n_positions * len(answers_A))))
    for first in range(0, len(batch), size):
        rows = slice(first, first + size)
        part = batch.take(rows)
        asked_WT = part.targets_BT != UNSCORED
        logits_WTA = answer_logits(
            subject.model, part.tokens_BT, answers_A, read_BT=asked_WT,
            batch_size=size,
        )  # fmt: skip
        logits_NA = logits_WTA[asked_WT].astype(np.float64)
        right_N1 = place_C[part.targets_BT[asked_WT]][:, None]
        right_N = np.take_along_axis(logits_NA, right_N1, axis=1)[:, 0]
        nats[rows][asked_WT] = logsumexp(logits_NA, axis=1) - right_N
    return nats


def _references(
    kind: str, floors: Mapping[str, float], scored: _Scored, metric: Language
) -> dict[str, Any]:
    """Return the levels to read a number against: for losses the best table is the floor."""
    if kind == GAIN:
        return {"references": floors}
    chance_WT = np.full(scored.asked_WT.shape, math.log(scored.n_answers))
    chance = _value(scored.terms(kind, chance_WT, metric))
    return {"references": {"chance": chance, "floor": min(floors.values()), **floors}}


def _beside(kind: str, value: float, floors: Mapping[str, float]) -> dict[str, float]:
    """Return by how much a number is better than that of every table."""
    if kind == GAIN:
        return {f"beyond_{name}": value - floor for name, floor in floors.items()}
    return {f"below_{name}": floor - value for name, floor in floors.items()}


def _result(
    metric: Language,
    layout: Layout,
    terms: list[_Term],
    rng: np.random.Generator,
    **further: Any,
) -> MetricResult:
    unit = KINDS[layout.stem].unit
    if not all(term.below_U.sum() for term in terms):
        reason = (
            f"no token is asked for within the first {metric.early}, or none from {metric.late} on"
        )
        further |= {"references": {}, "scalars": {}}
        return metric.result(layout, Estimate(None, reason=reason), 0, unit=unit, **further)
    n_documents = len(terms[0].above_U)
    if n_documents == 1:
        further["warnings"] = ["no interval: all windows are of one document"]
    weight_RU = resampling.weights(n_documents, rng)
    value_R = np.zeros(len(weight_RU))
    for sign, above_U, below_U in terms:
        value_R += sign * resampling.ratio(weight_RU, above_U[:, None], below_U[:, None])[:, 0]
    interval = stats.percentile_interval(value_R, unit="document") if n_documents > 1 else None
    units = sum(term.sign * resampling.contributions(*term[1:]) for term in terms)
    estimate = Estimate(_value(terms), interval)
    return metric.result(layout, estimate, n_documents, units=units, unit=unit, **further)


def _value(terms: Sequence[_Term]) -> float:
    with np.errstate(invalid="ignore"):
        return float(sum(term.sign * term.above_U.sum() / term.below_U.sum() for term in terms))


def _by_position(
    nats_WT: np.ndarray, tables: Mapping[str, np.ndarray], asked_WT: np.ndarray
) -> Profile:
    """Return mean losses over the positions of a window, with those of the tables."""
    positions = np.flatnonzero(asked_WT.any(0))
    means = {
        name: np.nanmean(of_WT[:, positions], axis=0)
        for name, of_WT in (("", nats_WT), *tables.items())
    }
    return profile({"position": positions.tolist()}, means.pop(""), series=means)
