"""Dictionaries as files: ours read back to the bit, and those of sae-lens with the same codes."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mecheval.dictionaries import Dictionary, DictionaryRecipe, train_dictionary
from mecheval.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

N, D, M, K = 600, 10, 30, 4
GROUPS_N = np.arange(N) % 6
KINDS = ("topk", "batchtopk", "groups")


def rows(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((N, 5)) @ rng.standard_normal((5, D)) + 4).astype(np.float32)


def trained(kind: str = "topk") -> Dictionary:
    selection = "batchtopk" if kind == "batchtopk" else "topk"
    recipe = DictionaryRecipe(selection=selection, n_rows=6000, batch_size=200)
    groups = GROUPS_N if kind == "groups" else None
    return train_dictionary(rows(), 3, K, groups_N=groups, recipe=recipe)


def written(folder: Path, config: dict[str, Any], **weights: torch.Tensor) -> Path:
    """Write files as sae-lens does."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (D, M), "b_enc": (M,), "W_dec": (M, D), "b_dec": (D,)}
    drawn = {n: torch.randn(shape, generator=generator) for n, shape in shapes.items()}
    folder.mkdir(exist_ok=True)
    save_file(drawn | weights, folder / "sae_weights.safetensors")
    config = {"architecture": "topk", "k": K, "d_in": D, "d_sae": M} | config
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def of_sae_lens(name: str, reason: str = "sae-lens is not installed: pip install -e '.[sae]'"):
    """Return a module of sae-lens, which takes long to import and warns while it does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=reason)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_read_back_to_the_bit(kind: str, tmp_path: Path) -> None:
    dictionary = trained(kind)
    dictionary.save(tmp_path / "new" / "folder")
    again = Dictionary.load(tmp_path / "new" / "folder")
    for name, value in vars(dictionary).items():
        found = getattr(again, name)
        same = torch.equal(value, found) if isinstance(value, torch.Tensor) else value == found
        assert same, name
    assert again.about["seed"] == 0
    one, other = (d.encode(rows(1), GROUPS_N).csr for d in (dictionary, again))
    assert abs(one - other).nnz == 0


def test_a_limit_that_is_infinite_is_written_as_json_can(tmp_path: Path) -> None:
    Dictionary.load(written(tmp_path / "a", {})).save(tmp_path / "b")
    assert "Infinity" not in (tmp_path / "b" / "cfg.json").read_text()
    assert Dictionary.load(tmp_path / "b").norm_limit == float("inf")


def test_norms_of_the_decoder_and_the_bias_of_the_input_are_folded(tmp_path: Path) -> None:
    config = {"rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": False}
    folder = written(tmp_path / "a", config)
    weights = {
        n: v.double().numpy() for n, v in load_file(folder / "sae_weights.safetensors").items()
    }
    norms = np.linalg.norm(weights["W_dec"], axis=1)
    before = (rows(1) @ weights["W_enc"] + weights["b_enc"]) * norms
    expected = np.where(before >= np.sort(before, axis=1)[:, -K, None], before, 0).clip(min=0)
    dictionary = Dictionary.load(folder)
    codes = dictionary.encode(rows(1))
    assert np.allclose(codes.csr.toarray(), expected, rtol=1e-4, atol=1e-4)
    back = (expected / norms) @ weights["W_dec"] + weights["b_dec"]
    assert np.allclose(dictionary.decode(codes), back, rtol=1e-4, atol=1e-3)


def test_thresholds_and_files_of_before_version_6_are_read(tmp_path: Path) -> None:
    threshold = torch.linspace(0, 20, M)
    folder = written(tmp_path / "a", {"architecture": "jumprelu"}, threshold=threshold)
    values = Dictionary.load(folder).encode(rows(1)).csr.toarray()
    assert (np.where(values > 0, values, np.inf) > threshold.numpy()).all()
    plain = Dictionary.load(written(tmp_path / "b", {"architecture": "standard"}))
    loose = plain.encode(rows(1)).csr.toarray()
    assert np.array_equal(np.where(loose > threshold.numpy(), loose, 0), values)
    old = {"architecture": "standard", "activation_fn_str": "topk",
           "activation_fn_kwargs": {"k": 2}, "hook_name": "blocks.0.hook_resid_post"}  # fmt: skip
    assert Dictionary.load(written(tmp_path / "c", old)).k == 2
    half = {n: v.bfloat16() for n, v in load_file(folder / "sae_weights.safetensors").items()}
    save_file(half, folder / "sae_weights.safetensors")
    assert Dictionary.load(folder).encoder_MD.dtype == torch.float32


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "gated"}, "architecture is 'gated'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is 'layer_norm'"),
        ({"normalize_activations": True}, "normalize_activations is True"),
        ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor is True"),
        ({"activation_fn": "tanh-relu"}, "fire by 'tanh-relu'"),
        ({"k": 0}, "k must be"),
        ({"k": None}, "k must be"),
        ({"d_in": 5}, "W_enc is of shape|W_dec is of shape|b_dec is of shape"),
        ({"architecture": "jumprelu"}, "must hold"),
        ({"metadata": [1]}, "list"),
        ({"metadata": {"mecheval": {}}}, "'norm_limit' is missing"),
    ],
)
def test_files_with_other_codes_are_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=message):
        Dictionary.load(written(tmp_path / "a", config))


def test_what_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        Dictionary.load(tmp_path)
    folder = written(tmp_path / "a", {}, b_enc=torch.full((M,), torch.nan))
    with pytest.raises(StorageError, match="not finite"):
        Dictionary.load(folder)
    for text in ("[]", "{", "[" * 100_000, '{"architecture": "topk"}'):
        (folder / "cfg.json").write_text(text)
        with pytest.raises(StorageError, match="holds no dictionary that can be read"):
            Dictionary.load(folder)
    with pytest.raises(StorageError, match="cannot be written"):
        trained().save(folder / "cfg.json")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_sae_lens_finds_the_same_codes_in_our_files(kind: str, tmp_path: Path) -> None:
    sae_lens = of_sae_lens("sae_lens")
    dictionary = trained(kind)
    dictionary.save(tmp_path)
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path))
    x = rows(1)
    if dictionary.means_GD is not None:
        x = x - dictionary.means_GD[torch.from_numpy(GROUPS_N)].numpy()
    with torch.no_grad():
        values = theirs.encode(torch.from_numpy(x))
        back = theirs.decode(values)
    codes = dictionary.encode(rows(1), GROUPS_N)
    assert np.allclose(codes.csr.toarray(), values.numpy(), rtol=1e-4, atol=1e-4)
    if dictionary.means_GD is not None:
        back = back + dictionary.means_GD[torch.from_numpy(GROUPS_N)]
    assert np.allclose(dictionary.decode(codes, GROUPS_N), back.numpy(), rtol=1e-4, atol=1e-4)
    assert theirs.cfg.architecture() == ("jumprelu" if kind == "batchtopk" else "topk")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu", "standard"])
def test_we_find_the_same_codes_in_files_of_sae_lens(kind: str, tmp_path: Path) -> None:
    sae_lens = of_sae_lens("sae_lens")
    classes = {
        "topk": ("TopKTrainingSAE", {"k": K}),
        "batchtopk": ("BatchTopKTrainingSAE", {"k": K}),
        "jumprelu": ("JumpReLUTrainingSAE", {}),
        "standard": ("StandardTrainingSAE", {}),
    }
    name, more = classes[kind]
    config = getattr(sae_lens, f"{name}Config")(d_in=D, d_sae=M, **more)
    theirs = getattr(sae_lens, name)(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        if kind == "batchtopk":
            theirs.topk_threshold.fill_(2.0)
    theirs.save_inference_model(str(tmp_path))
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path))
    with torch.no_grad():
        values = theirs.encode(torch.from_numpy(rows(1)))
        back = theirs.decode(values)
    dictionary = Dictionary.load(tmp_path)
    codes = dictionary.encode(rows(1))
    assert codes.csr.nnz > N
    assert np.allclose(codes.csr.toarray(), values.numpy(), rtol=1e-4, atol=1e-4)
    assert np.allclose(dictionary.decode(codes), back.numpy(), rtol=1e-4, atol=1e-3)
