"""Every registered architecture of our own keeps the contract, with each of its arguments."""

import inspect
import itertools
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from crossings import mostly_slow

from mecheval.checks import all_passed
from mecheval.errors import ContractError, UsageError
from mecheval.models.checks import check_model
from mecheval.models.kernels.c.compile import library
from mecheval.models.stack.architecture import Architecture, model
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import parse_spec

REGISTRY = Registry()
NAMES = ("gru", "lstm", "mamba", "mamba2", "transformer")

VARIANTS = [
    *NAMES,
    "transformer[positions=none]",
    "transformer[positions=learned,context=12]",
    "transformer[heads=1,mlp_ratio=2]",
    *(
        f"{name}[{argument}]"
        for name in ("mamba", "mamba2")
        for argument in (
            "d_conv=0", "d_conv=1", "d_conv=2", "d_conv=3", "eigenvalues=[-1,1]",
            "d_state=5,expand=1", "kernel=reference", "kernel=reference,eigenvalues=[-1,1]",
        )
    ),
    "mamba[width=24]",
    "mamba2[head_dim=8]",
]  # fmt: skip


def configured(text: str) -> Architecture:
    spec = parse_spec(text)
    return REGISTRY.load("model", spec.name).configure(spec.args, name=spec.name)


def build(text: str, vocab_size: int = 6, seed: int = 0):
    architecture = configured(text)
    return architecture.build(architecture.vocabulary(vocab_size), seed=seed)


def own_names() -> list[str]:
    found = [
        (entry.name, REGISTRY.load("model", entry.name)) for entry in REGISTRY.entries("model")
    ]
    return [name for name, cls in found if inspect.isclass(cls) and issubclass(cls, Architecture)]


def test_the_five_architectures_are_registered():
    assert set(NAMES) <= set(own_names())


@pytest.mark.parametrize(
    ("text", "dtype"),
    mostly_slow(
        itertools.product(VARIANTS, [torch.float32, torch.float64]),
        always=[
            *((text, torch.float32) for text in VARIANTS),
            *((text, torch.float64) for text in NAMES),
        ],
    ),
    ids=str,
)
def test_contract(text, dtype):
    checks = check_model(build(text).to(dtype))
    assert all_passed(checks), "\n".join(map(str, checks))
    assert all(check.passed for check in checks), "every check applies to models of our own"


@pytest.mark.parametrize("name", own_names())
def test_card_and_file(name):
    cls = REGISTRY.load("model", name)
    card, entry = cls.card, REGISTRY.get("model", name)
    assert card.name == name
    assert card.summary == entry.summary
    assert {"tiny", "formal"} <= set(card.sizes)
    assert card.sizes["formal"]["layers"] == 4
    assert card.sizes["formal"]["width"] == 128
    text = Path(inspect.getfile(cls)).read_text(encoding="utf-8")
    opening = text.split('"""')[1]
    assert "Glossary (paper -> code):" in opening
    assert "Official implementation:" in opening
    readme = Path(inspect.getfile(cls)).with_name("README.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in readme


@pytest.mark.parametrize("name", NAMES)
def test_sizes_choose_defaults_and_recipes(name):
    tiny, formal = configured(name), configured(f"{name}[size=formal,layers=2]")
    assert tiny.size == "tiny"
    assert (formal.size, formal.layers, formal.width) == ("formal", 2, 128)
    assert formal.recipe is formal.card.recipes["formal"]
    same = configured(f"{name}[width=128,layers=2]")
    assert same.identity() == formal.identity()
    assert "size" not in formal.identity().args
    assert formal.identity().source == "scratch"
    assert pickle.loads(pickle.dumps(formal)) == formal
    with pytest.raises(FrozenInstanceError):
        formal.layers = 3


def test_identity_holds_all_arguments():
    assert dict(configured("mamba[layers=2,width=64,d_conv=1]").identity().args) == {
        "layers": 2, "width": 64, "expand": 2, "d_state": 16, "d_conv": 1,
        "eigenvalues": (0, 1), "kernel": "auto",
    }  # fmt: skip


def test_registered_name_and_symbols_reach_identity_and_encoding():
    cls = REGISTRY.load("model", "gru")
    local = cls.configure({}, name="local/gru")
    assert local.identity().name == local.card.name == "local/gru"
    assert cls.card.name == "gru"
    task = REGISTRY.load("task", "dyck")()
    encoding = local.encode(task)
    assert encoding.vocab_size == len(task.symbols)
    assert encoding.code_C.tolist() == list(range(len(task.symbols)))
    assert local.build(encoding, seed=0).vocab_size == len(task.symbols)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mamba[layer=2]", "Unknown argument 'layer' of mamba. Did you mean 'layers'?"),
        ("mamba[size=forml]", "Unknown size 'forml' of mamba. Did you mean 'formal'?"),
        ("lstm[width=wide]", "must be a whole number"),
        ("gru[layers=0]", "Model 'gru' needs layers and width of at least 1"),
        ("transformer[positions=sine]", "positions to be one of rope, none, learned"),
        ("transformer[heads=3]", "a width that heads divide"),
        ("transformer[width=12]", "an even width per head"),
        ("transformer[positions=learned,context=0]", "context of at least 1"),
        ("mamba[eigenvalues=[0,2]]", "eigenvalues=[0,1] or eigenvalues=[-1,1]"),
        ("mamba[eigenvalues=1]", "must be a list"),
        ("mamba[d_conv=-1]", "d_conv of at least 0"),
        ("mamba2[kernel=fast]", "choose one of auto, reference, fused"),
        ("mamba2[head_dim=24]", "a head_dim that divides"),
    ],
)
def test_bad_arguments_are_refused(text, message):
    with pytest.raises(UsageError) as caught:
        configured(text)
    assert message in str(caught.value)


def test_eigenvalues_written_as_floats_are_the_same_model():
    floats, integers = (configured(f"mamba[eigenvalues=[{v}]]") for v in ("-1.0,1.0", "-1,1"))
    assert repr(floats.identity()) == repr(integers.identity())


def test_declarations_are_checked():
    parts = {"name": "bad", "reference": "none", "architecture": "test"}

    class NoDocstring(Architecture):
        pass

    with pytest.raises(ContractError, match="has no docstring"):
        model(**parts, sizes={"tiny": {}}, recipes={"tiny": Recipe()})(NoDocstring)

    class NoTiny(Architecture):
        """A model without its smallest size."""

    with pytest.raises(ContractError, match="'tiny' among them"):
        model(**parts, sizes={"big": {}}, recipes={"big": Recipe()})(NoTiny)


def test_the_example_of_the_readme_keeps_the_contract(tmp_path):
    readme = Path(inspect.getfile(REGISTRY.load("model", "gru"))).with_name("README.md")
    example = readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "decay.py").write_text(example, encoding="utf-8")
    cls = Registry((tmp_path / "decay.py",)).load("model", "local/decay")
    source = cls.configure({}, name="local/decay")
    checks = check_model(source.build(source.vocabulary(5), seed=0))
    assert {check.passed for check in checks} == {True}, "\n".join(map(str, checks))


def test_kernels_are_recorded_by_the_forward_pass():
    native = "c" if library().functions is not None else "torch"
    tokens_BT = torch.zeros(1, 3, dtype=torch.long)
    for text, wanted in (
        ("mamba", f"selective_scan:{native}"),
        ("mamba2", f"dual_scan:{native}"),
        ("mamba[kernel=reference]", "selective_scan:reference"),
        ("transformer", "attention:scaled_dot_product"),
        ("lstm", "lstm:torch"),
    ):
        built = build(text)
        built(tokens_BT)
        assert built.kernels == (wanted,)
    doubled = build("mamba2").double()
    doubled(tokens_BT)
    assert doubled.kernels == ("dual_scan:torch",)


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
@pytest.mark.parametrize("eigenvalues", ["[0,1]", "[-1,1]"])
def test_kernels_agree_on_whole_models(name, eigenvalues):
    tokens_BT = torch.as_tensor(np.random.default_rng(0).integers(6, size=(4, 40)))
    reference = build(f"{name}[kernel=reference,eigenvalues={eigenvalues}]").double()(tokens_BT)
    for found in (
        build(f"{name}[eigenvalues={eigenvalues}]")(tokens_BT),
        build(f"{name}[eigenvalues={eigenvalues}]").double()(tokens_BT),
    ):
        assert torch.allclose(
            found.double(), reference, atol=2e-5 * reference.detach().abs().max().item()
        )


def test_convolution_taps_are_what_they_say():
    """One tap is a scale and a bias without lookback; none is no convolution."""
    for taps in (0, 1, 3):
        mixer = build(f"mamba[d_conv={taps}]").blocks[0].mixer
        x_BTE = torch.randn(1, 6, 64)
        changed_BTE = x_BTE.clone()
        changed_BTE[:, 2] += 1
        moved_BTE = mixer.conv(changed_BTE, "torch") - mixer.conv(x_BTE, "torch")
        touched = moved_BTE[0].abs().sum(-1) > 1e-6
        assert touched.tolist() == [2 <= t < 2 + max(taps, 1) for t in range(6)]
    assert not list(build("mamba[d_conv=0]").blocks[0].mixer.conv.parameters())


def test_rotary_attention_depends_on_distances_only():
    from mecheval.builtin.model_registry.transformer import rotate

    q_BT2HK = torch.randn(1, 8, 2, 1, 16, dtype=torch.float64)
    scores = []
    for first in (0, 5):
        turned_BT2HK = rotate(q_BT2HK, first)
        scores.append(turned_BT2HK[0, :, 0, 0] @ turned_BT2HK[0, :, 1, 0].T)
    assert torch.allclose(scores[0], scores[1], atol=1e-12)
    assert not torch.allclose(scores[0], q_BT2HK[0, :, 0, 0] @ q_BT2HK[0, :, 1, 0].T)


def test_positions_tell_a_repeated_token_apart_only_if_learned():
    """Without positions, and with rotary ones, all values of 1 1 1 ... are equal."""
    ones_BT = torch.ones(1, 8, dtype=torch.long)
    for positions, same in (("rope", True), ("none", True), ("learned", False)):
        logits_TC = build(f"transformer[positions={positions}]")(ones_BT)[0]
        assert torch.allclose(logits_TC, logits_TC[:1].expand_as(logits_TC), atol=1e-5) is same


@pytest.mark.parametrize("name", NAMES)
def test_trains_in_half_precision_and_reaches_every_parameter(name):
    built, tokens_BT = build(name), torch.arange(12).reshape(2, 6) % 6
    with torch.autocast("cpu", torch.bfloat16):
        logits_BTC = built(tokens_BT)
    torch.nn.functional.cross_entropy(
        logits_BTC.float().flatten(0, 1), tokens_BT.flatten()
    ).backward()
    for parameter_name, parameter in built.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


def test_a_table_made_in_inference_mode_serves_training_later():
    tokens_BT = torch.zeros(1, 37, dtype=torch.long)
    built = build("transformer[width=40]")
    with torch.inference_mode():
        built(tokens_BT)
    built(tokens_BT).sum().backward()
    assert all(parameter.grad is not None for parameter in built.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("name", own_names())
def test_weights_in_half_precision_answer_nearly_as_in_full(name, dtype):
    built, tokens_BT = build(name), torch.arange(24).reshape(2, 12) % 6
    with torch.inference_mode():
        exact_BTC = built(tokens_BT)
        half_BTC = built.to(dtype)(tokens_BT)
    assert half_BTC.dtype == dtype
    assert (half_BTC.float() - exact_BTC).abs().median() < 0.05 * exact_BTC.std()
