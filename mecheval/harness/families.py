"""What can be done with each family of causal models of the installed transformers, measured.

Every family is built tiny, with drawn weights, in float32 and in float64: which engine is the
fastest that is exact and how far it is from plain hooks, which sites there are, how the memory of a
layer is exchanged and how far that is from runs token by token, and whether anything is kept
outside of weights and cache. What raises is written down where it was raised; nothing goes unsaid.

Shape suffixes: ``B`` pairs, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mecheval import seeding
from mecheval.errors import MechevalError, unknown
from mecheval.harness.threads import one_thread
from mecheval.interventions import recovery_grid
from mecheval.models.families.building import build, names
from mecheval.models.families.by_hand import UNFIT
from mecheval.models.sites import COMPONENTS, MEMORY
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mecheval.interventions import RecoveryGrid
    from mecheval.models.wrapped.model import WrappedModel

PAIRS, LENGTH, LONGER = 3, 12, 60
FIRST_TOKEN, LAST_TOKEN = 4, 55
"""Which token ids runs are made of: none that a family reserves."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}
SAME = {"float32": 1e-5, "float64": 1e-9}
"""How far equal logits may be apart, relative to the largest one."""

EXACT = {"float32": 1e-4, "float64": 1e-6}
"""How far an engine may be; some families compute parts in float32 whatever their type is."""


@dataclass
class Measured:
    """What was measured of a family in one floating-point type.

    Attributes:
        engine: The fastest engine that is exact; None where nothing can be patched.
        reason: Why no faster one is, or why nothing can be patched.
        difference: Largest difference to plain hooks, relative to the largest logit.
        moved: How far patches move the answer, likewise.
        memory: The engine that exchanges each of ``write``, ``state`` and ``cache``.
        memory_difference: Largest difference of these to runs token by token, likewise.
        keeps: Whether the logits of a text change by a pass over another, longer one.
        cut: How far logits move when the input is cut behind them, likewise.
        raised: What raised anything but a sentence of ours, by what was tried.
    """

    engine: str | None = None
    reason: str | None = None
    difference: float | None = None
    moved: float | None = None
    memory: dict[str, str] = field(default_factory=dict)
    memory_difference: float | None = None
    keeps: bool | None = None
    cut: float | None = None
    raised: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """What can be done with a family.

    Attributes:
        name: Its name in transformers, with what is varied in brackets.
        architecture: The class of the model.
        layers: Number of blocks; None where no blocks are found.
        attention: Which implementation of attention transformers chooses.
        sites: In which layers a component exists, by component.
        measured: What was measured, by floating-point type.
    """

    name: str
    architecture: str
    layers: int | None = None
    attention: str | None = None
    sites: dict[str, list[int]] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)

    def faults(self) -> Iterator[str]:
        """Yield what raised or is not exact, in sentences: what would have to be mended."""
        for dtype, measured in self.measured.items():
            for what, said in measured.raised.items():
                yield f"{self.name} in {dtype}: {what} raises {said}"
            for name in ("difference", "memory_difference"):
                off = getattr(measured, name) or 0.0
                if not off <= EXACT[dtype]:
                    yield f"{self.name} in {dtype}: {measured.engine} has a {name} of {off:.1e}"


def survey(chosen: Sequence[str] = ()) -> Iterator[Family]:
    """Measure families one by one, all where none is named.

    Raises:
        UsageError: The installed transformers has no such causal family.
    """
    known = names()
    for name in chosen:
        if name not in known:
            raise unknown("family", name, known, see="`mecheval doctor --families`")
    return (_family(name, known[name]) for name in chosen or known)


def _family(name: str, architecture: str) -> Family:
    with _without_warnings(), one_thread():
        return _measured(name, architecture)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Let transformers not say what a tiny model on a CPU does without."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def _measured(name: str, architecture: str) -> Family:
    family = Family(name, architecture)
    for dtype in DTYPES:
        try:
            model = build(name, DTYPES[dtype])
        except Exception as error:
            family.measured[dtype] = Measured(reason=_why_not(name, error))
            continue
        if family.layers is None:
            config = getattr(model.module, "config", None)
            attention = getattr(config, "_attn_implementation", None)
            family = replace(
                family, layers=model.n_layers, attention=attention, sites=_sites(model)
            )
        family.measured[dtype] = _Survey(model, dtype).measured()
    return family


def _why_not(name: str, error: Exception) -> str:
    said = str(error) if isinstance(error, MechevalError) else in_words(error)
    return f"{UNFIT[name]} ({said})" if name in UNFIT else said


def _sites(model: WrappedModel) -> dict[str, list[int]]:
    layers = {
        name: [at.layer for at in model.taps() if at.component == name] for name in COMPONENTS
    }
    return {name: sorted(found) for name, found in layers.items() if found}


class _Survey:
    """Measures one model; what raises is kept, and what follows is still tried."""

    def __init__(self, model: WrappedModel, dtype: str) -> None:
        self.model, self.dtype, self.found = model, dtype, Measured()
        self.asked = _pairs(model.vocab_size)
        self.refused: list[str] = []

    def measured(self) -> Measured:
        found = self.found
        scale = self._tried("a forward pass", self._scale)
        if scale is None:
            found.reason = next(iter(found.raised.values()))
            return found
        found.keeps = self._tried("a longer text", lambda: self._kept() > SAME[self.dtype] * scale)
        found.cut = self._tried("a cut input", lambda: self._cut() / scale)
        tensors = list(_sites(self.model)) or ["block_in"]  # which is refused in a sentence
        fast, plain = self._grid(tensors, "fastest"), self._grid(tensors, "hooks")
        if fast is None:
            found.reason = next(iter(self.refused), None) or next(iter(found.raised.values()))
            return found
        found.engine, found.reason = fast.execution.engine, fast.execution.reason
        if plain is not None:
            found.difference = _distance(fast.patched, plain.patched) / scale
            found.moved = float(np.nanmax(np.abs(plain.patched - plain.corrupted))) / scale
        if found.engine == "tails":
            self._grid(tensors, "blocks")
        self._memory(scale)
        return found

    def _memory(self, scale: float) -> None:
        """Exchange the memory of every layer in the two ways that there are."""
        made: dict[str, np.ndarray] = {}
        for name in MEMORY:
            grid = self._grid([name], "fastest")
            if grid is not None:
                self.found.memory[name], made[name] = grid.execution.engine, grid.patched[0]
        exchanged = [name for name in self.model.exchanges if name in made]
        stepped = self._grid(exchanged, "steps") if exchanged else None
        if stepped is not None:
            apart = [_distance(made[name], stepped.component(name)) for name in exchanged]
            self.found.memory_difference = max(apart) / scale

    def _grid(self, components: Sequence[str], engine: Any) -> RecoveryGrid | None:
        def compute() -> RecoveryGrid:
            return recovery_grid(self.model, **self.asked, components=components, engine=engine)

        what = "all sites" if "block_in" in components else " and ".join(components)
        return self._tried(f"{what} with engine={engine}", compute)

    def _tried(self, what: str, compute: Callable[[], Any]) -> Any:
        try:
            with torch.inference_mode():
                return compute()
        except MechevalError as error:
            self.refused.append(str(error))
        except Exception as error:
            self.found.raised[what] = in_words(error)
        return None

    def _scale(self) -> float:
        return float(self._clean_logits().abs().max())

    def _clean_logits(self, length: int | None = None) -> torch.Tensor:
        return self.model(torch.as_tensor(self.asked["clean_BT"])[:, :length])

    def _kept(self) -> float:
        """Return how far logits move by a pass over another, longer text."""
        before_BTC = self._clean_logits().clone()
        self.model(torch.as_tensor(_tokens(self.model.vocab_size, LONGER)))
        return float((self._clean_logits() - before_BTC).abs().max())

    def _cut(self) -> float:
        """Return how far logits move when the input is cut behind them."""
        whole_BTC = self._clean_logits()
        lengths = (1, LENGTH // 2, LENGTH - 2)
        return max(
            float((self._clean_logits(n)[:, -1] - whole_BTC[:, n - 1]).abs().max()) for n in lengths
        )


def _tokens(vocab_size: int, length: int) -> np.ndarray:
    last = min(vocab_size, LAST_TOKEN)
    return seeding.stream(0, "families").integers(FIRST_TOKEN, last, (PAIRS, length))


def _pairs(vocab_size: int) -> dict[str, Any]:
    """Draw pairs of runs that differ at two or three positions, as a grid takes them."""
    clean_BT, span = _tokens(vocab_size, LENGTH), min(vocab_size, LAST_TOKEN) - FIRST_TOKEN
    corrupted_BT, rng = clean_BT.copy(), seeding.stream(1, "families")
    for b in range(PAIRS):
        changed = rng.choice(LENGTH - 4, 2 + b % 2, replace=False)
        corrupted_BT[b, changed] = FIRST_TOKEN + (clean_BT[b, changed] - FIRST_TOKEN + 7) % span
    return {
        "clean_BT": clean_BT,
        "corrupted_BT": corrupted_BT,
        "answers_B": np.array([5, 6, 7]),
        "foils_B": np.array([8, 9, 10]),
        "readout_B": np.array([LENGTH - 1, LENGTH - 1, LENGTH - 3]),
    }


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference; infinite where a value exists on one side only."""
    if (np.isnan(one) != np.isnan(other)).any():
        return float("inf")
    exists = ~np.isnan(one)
    return float(np.abs(one - other)[exists].max(initial=0))
