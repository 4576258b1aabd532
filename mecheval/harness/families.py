"""What the engine can do with each family of causal models of the installed transformers.

Every family is built tiny, with drawn weights, and measured in float32 and in float64: which engine
``auto`` takes, how far it is from plain hooks, which sites exist, whether the memory of a layer can
be exchanged, and whether anything is kept outside of weights and cache.

Shape suffixes: ``B`` pairs, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mecheval.errors import MechevalError
from mecheval.interventions import recovery_grid
from mecheval.models.drawing import drawing
from mecheval.models.families.shapes import POSITIONS, VOCABULARY, tiny_config
from mecheval.models.sites import COMPONENTS, MEMORY
from mecheval.models.wrapped.model import WrappedModel
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAIRS, LENGTH, LONGER = 3, 12, 60
FIRST_TOKEN, LAST_TOKEN = 4, 55
SAME = {torch.float32: 1e-5, torch.float64: 1e-9}
"""How far logits may be from themselves, relative to the largest one."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a family in one floating-point type.

    Attributes:
        engine: The engine that ``auto`` takes; None where nothing can be patched.
        reason: Why it takes no faster one, or why nothing can be patched.
        difference: Largest difference to plain hooks, relative to the largest logit.
        memory: The engine that exchanges each of the components ``write``, ``state``, ``cache``.
        memory_difference: Largest difference of these to runs token by token.
        keeps: Whether logits change by a pass over another, longer text.
        crashes: What raised anything but a sentence of ours, step by step.
    """

    engine: str | None = None
    reason: str | None = None
    difference: float | None = None
    memory: dict[str, str] = field(default_factory=dict)
    memory_difference: float | None = None
    keeps: bool | None = None
    moved: float | None = None
    blocks: str | None = None
    streams: bool | None = None
    cut: float | None = None
    crashes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """What the engine can do with a family.

    Attributes:
        name: Its name in transformers.
        architecture: The class of the model.
        layers: Number of blocks; None where they were not found.
        sites: The layers in which a component exists, by component.
        attention: The attention implementation.
        single, double: What was measured in float32 and in float64.
    """

    name: str
    architecture: str
    layers: int | None = None
    sites: dict[str, list[int]] = field(default_factory=dict)
    attention: str = ""
    single: Measured = Measured()
    double: Measured = Measured()


def families() -> dict[str, str]:
    """Return the classes of all causal families of the installed transformers, by name."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return {
        name: architecture
        for name, architecture in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
        if name in CONFIG_MAPPING_NAMES
    }


def survey(name: str, architecture: str, **changes: Any) -> Family:
    """Measure a family; nothing that it raises goes unsaid."""
    found = Family(name, architecture)
    for dtype, place in ((torch.float32, "single"), (torch.float64, "double")):
        try:
            model = _model(name, dtype, **changes)
        except MechevalError as error:
            found = replace(found, **{place: Measured(reason=str(error))})
            continue
        except Exception as error:
            crash = {"build": in_words(error)}
            found = replace(found, **{place: Measured(reason=in_words(error), crashes=crash)})
            continue
        if place == "single":
            config = model.module.config
            found = replace(
                found,
                architecture=type(model.module).__name__,
                layers=model.n_layers,
                sites=_sites(model),
                attention=str(getattr(config, "_attn_implementation", "")),
            )
        found = replace(found, **{place: _measured(model, dtype)})
    return found


def _model(name: str, dtype: torch.dtype, **changes: Any) -> WrappedModel:
    from transformers import AutoModelForCausalLM

    config = tiny_config(name, **changes)
    with drawing(0):
        module = AutoModelForCausalLM.from_config(config)
    if dtype == torch.float64 and hasattr(module, "set_experts_implementation"):
        _in_plain_torch(module)
    return WrappedModel(module.eval().to(dtype))


def _in_plain_torch(module: Any) -> None:
    """Let experts run one by one: the grouped products of torch know no float64."""
    try:
        module.set_experts_implementation("eager")
    except ValueError:  # a model without experts
        return


def _sites(model: WrappedModel) -> dict[str, list[int]]:
    sites: dict[str, list[int]] = {}
    for name in COMPONENTS:
        layers = [site.layer for site in model.taps() if site.component == name]
        if layers:
            sites[name] = sorted(layers)
    return sites


def pairs(vocabulary: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw pairs of runs that differ at two or three positions, as a grid takes them."""
    rng = np.random.default_rng(seed)
    last = min(vocabulary, LAST_TOKEN)
    clean_BT = rng.integers(FIRST_TOKEN, last, (PAIRS, LENGTH))
    corrupted_BT = clean_BT.copy()
    for b in range(PAIRS):
        changed = rng.choice(LENGTH - 4, 2 + b % 2, replace=False)
        span = last - FIRST_TOKEN
        corrupted_BT[b, changed] = FIRST_TOKEN + (clean_BT[b, changed] - FIRST_TOKEN + 7) % span
    return {
        "clean_BT": clean_BT,
        "corrupted_BT": corrupted_BT,
        "answers_B": np.array([5, 6, 7]),
        "foils_B": np.array([8, 9, 10]),
        "readout_B": np.array([LENGTH - 1, LENGTH - 1, LENGTH - 3]),
    }


def _measured(model: WrappedModel, dtype: torch.dtype) -> Measured:
    steps: dict[str, Any] = {}
    crashes: dict[str, str] = {}
    asked = pairs(model.vocab_size)
    tensors = list(_sites(model))
    found = Measured()
    keeps = _tried(crashes, "longer text", lambda: _keeps(model, dtype))
    with torch.inference_mode():
        scale = float(model(torch.as_tensor(asked["clean_BT"])).abs().max())
    refused: list[str] = []

    def grid(components: Sequence[str], engine: str) -> Any:
        try:
            return recovery_grid(model, **asked, components=components, engine=engine)
        except MechevalError as error:
            refused.append(str(error))
        except Exception as error:
            crashes[f"{engine} {','.join(components)}"] = in_words(error)
        return None

    fast, plain = grid(tensors, "auto"), grid(tensors, "hooks")
    refused_before = len(refused)
    blocks = grid(tensors, "blocks")
    said = "exact" if blocks is not None else (refused[refused_before:] or ["crash"])[0]
    streams = _tried(crashes, "streams", lambda: model.streams)
    found = replace(found, keeps=keeps, crashes=crashes, blocks=said, streams=streams)
    found = replace(found, cut=_tried(crashes, "cut", lambda: _cut(model) / scale))
    if fast is None:
        reason = refused[0] if refused else next(iter(crashes.values()), "")
        return replace(found, reason=reason)
    found = replace(found, engine=fast.execution.engine, reason=fast.execution.reason)
    if plain is not None:
        moved = np.nanmax(np.abs(plain.patched - plain.corrupted)) / scale
        found = replace(found, moved=float(moved))
        found = replace(found, difference=_distance(fast.patched, plain.patched) / scale)
    memory, difference = _memory(model, grid)
    return replace(
        found, memory=memory, memory_difference=None if difference is None else difference / scale
    )


def _memory(model: WrappedModel, grid: Any) -> tuple[dict[str, str], float | None]:
    memory, difference = {}, None
    for name in MEMORY:
        fast = grid([name], "auto")
        if fast is None:
            continue
        memory[name] = fast.execution.engine
        if name in model.exchanges:
            stepped = grid([name], "steps")
            if stepped is not None:
                difference = max(difference or 0.0, _distance(fast.patched, stepped.patched))
    return memory, difference


def _tried(crashes: dict[str, str], what: str, compute: Any) -> Any:
    try:
        return compute()
    except Exception as error:
        crashes[what] = in_words(error)
        return None


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    if (np.isnan(one) != np.isnan(other)).any():
        return float("nan")
    exists = ~np.isnan(one)
    return float(np.abs(one - other)[exists].max(initial=0))


@torch.inference_mode()
def _keeps(model: WrappedModel, dtype: torch.dtype) -> bool:
    """Say whether the logits of a text change by a pass over another, longer one."""
    rng = np.random.default_rng(1)
    last = min(model.vocab_size, LAST_TOKEN)
    text_BT = torch.as_tensor(rng.integers(FIRST_TOKEN, last, (PAIRS, LENGTH)))
    longer_BT = torch.as_tensor(rng.integers(FIRST_TOKEN, last, (PAIRS, LONGER)))
    before_BTC = model(text_BT).clone()
    model(longer_BT)
    after_BTC = model(text_BT)
    difference = float((after_BTC - before_BTC).abs().max())
    return difference > SAME[dtype] * float(before_BTC.abs().max())


@torch.inference_mode()
def _cut(model: WrappedModel) -> float:
    """Return how far logits move when the input is cut behind them."""
    tokens_BT = torch.as_tensor(pairs(model.vocab_size)["clean_BT"])
    whole_BTC = model(tokens_BT)
    lengths = (1, LENGTH // 2, LENGTH - 2)
    return max(
        float((model(tokens_BT[:, :n])[:, -1] - whole_BTC[:, n - 1]).abs().max()) for n in lengths
    )


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    rope = {"rope_type": kind, "rope_theta": 10000.0, **more}
    old = dict(rope)
    return {"max_position_embeddings": 8, "rope_parameters": rope, "rope_scaling": old}


LONG = {"original_max_position_embeddings": 8}
FACTORS = {"short_factor": [1.0] * 4, "long_factor": [1.0, 1.5, 2.0, 4.0]}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, linear rotary positions": ("llama", _rope("linear", factor=2.0)),
    "llama, dynamic rotary positions": ("llama", _rope("dynamic", factor=2.0)),
    "llama, yarn": ("llama", _rope("yarn", factor=2.0, **LONG)),
    "llama, longrope": ("llama", LONG | _rope("longrope", factor=2.0, **LONG, **FACTORS)),
    "llama, llama3 rotary positions": (
        "llama",
        _rope("llama3", factor=2.0, low_freq_factor=1.0, high_freq_factor=4.0, **LONG),
    ),
    "phi3, longrope": ("phi3", LONG | _rope("longrope", factor=2.0, **LONG, **FACTORS)),
}
