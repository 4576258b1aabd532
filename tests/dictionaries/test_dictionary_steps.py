"""Steps of training against the formulas in dense torch, with its autograd and its Adam."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mecheval.dictionaries import DictionaryRecipe
from mecheval.dictionaries.active import largest_of_batch, largest_of_rows
from mecheval.dictionaries.coder import Coder
from mecheval.dictionaries.rows import Rows
from mecheval.dictionaries.statistics import Statistics

B, M, D, K = 64, 40, 8, 4


def chosen(before: torch.Tensor, k: int, selection: str) -> torch.Tensor:
    if selection == "batchtopk":
        mask = torch.zeros(before.numel()).scatter(0, before.flatten().topk(k * B).indices, 1)
        return (before * mask.view_as(before)).clamp(min=0)
    mask = torch.zeros_like(before).scatter(1, before.topk(k, dim=1).indices, 1)
    return (before * mask).clamp(min=0)


def dense_step(weights, z, dead, recipe, adam, rate) -> None:
    encoder, bias, decoder, centre = weights
    before = (z - centre) @ encoder.T + bias
    residual = z - chosen(before, K, recipe.selection) @ decoder - centre
    loss = residual.square().sum() / (z - z.mean(0)).square().sum()
    if dead.any():
        left, half = residual.detach(), D // 2
        aux = left - chosen(before[:, dead], min(half, int(dead.sum())), "topk") @ decoder[dead]
        weight = recipe.aux_weight * min(1, int(dead.sum()) / half)
        loss = loss + weight * aux.square().sum() / left.square().sum()
    adam.zero_grad()
    loss.backward()
    with torch.no_grad():
        decoder.grad -= (decoder.grad * decoder).sum(1, keepdim=True) * decoder
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        decoder /= decoder.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("selection", ["topk", "batchtopk"])
def test_steps_are_those_of_the_formulas(selection: str) -> None:
    recipe = DictionaryRecipe(selection=selection, aux_weight=0.5)  # pyright: ignore[reportArgumentType]
    coder = Coder.new((M, D), K, recipe, ("", 0), torch.device("cpu"))
    with torch.no_grad():
        coder.weights[1].normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
    dense = [w.detach().clone().requires_grad_() for w in coder.weights]
    adam = torch.optim.Adam(dense)
    generator = torch.Generator().manual_seed(1)
    fired = []
    for step in range(6):
        z = torch.randn((B, D), generator=generator)
        # None is dead, then fewer than half as many as there are dimensions, then more.
        dead = torch.arange(M) < (0, 0, 3, 3, 30, 30)[step]
        coder.silent_M[:] = torch.where(dead, recipe.dead_after, 0)
        dense_step(dense, z, dead, recipe, adam, 1e-2)
        coder.step(z, 1e-2)
        fired.append(int((coder.silent_M == 0).sum()))
        assert ((coder.silent_M == 0) | (coder.silent_M >= B)).all()
    assert max(fired) > 0
    for one, other in zip(coder.weights, dense, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("n_latents", [30, 40, 80, 400])  # in one step, and in two
@pytest.mark.parametrize("values", ["normal", "equal", "zeros", "nan", "nan and equal"])
def test_the_largest_are_chosen_also_where_they_are_equal(values: str, n_latents: int) -> None:
    before = torch.randn((B, n_latents), generator=torch.Generator().manual_seed(0))
    if values == "equal":
        before = before.round()
    elif values == "zeros":
        before[::2] = 0
    elif "nan" in values:
        before[3, 5] = torch.nan
        if "equal" in values:  # one too many in the next row, as there is one too few in this
            before[4, :5] = torch.tensor([9.0, 8.0, 7.0, 6.0, 6.0])
    pattern, found = largest_of_rows(before, K)
    latents = pattern.latents_E.view(B, K).numpy()
    assert (np.diff(np.sort(latents, axis=1), axis=1) > 0).all()
    assert torch.equal(pattern.ends_R, torch.arange(0, B * K + 1, K))
    expected = before.topk(K, dim=1).values.sort(1).values
    torch.testing.assert_close(found.view(B, K).sort(1).values, expected, equal_nan=True)
    everywhere = largest_of_batch(before, K)[1].sort().values
    expected = before.flatten().topk(B * K).values.sort().values
    torch.testing.assert_close(everywhere, expected, equal_nan=True)
    torch.testing.assert_close(
        before.gather(1, pattern.latents_E.view(B, K)), found.view(B, K), equal_nan=True
    )


@pytest.mark.parametrize("grouped", [False, True])
def test_a_finished_dictionary_has_the_statistics_in_its_weights(grouped: bool) -> None:
    coder = Coder.new((M, D), K, DictionaryRecipe(), ("", 0), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        coder.weights[1].normal_(generator=generator)
        coder.weights[3].normal_(generator=generator)
    z = torch.randn((B, D), generator=generator)
    means = 5 * torch.randn((2, D), generator=generator)
    group = np.arange(B) % 2 * (1 if grouped else 0)
    x = means[group] + 3 * z
    of_groups = torch.cat([means, means[:1]]) if grouped else None
    statistics = Statistics(np.arange(B), float("inf"), means[0], of_groups, 3.0)
    dictionary = coder.finished(statistics, None, {})
    encoder, bias, decoder, centre = coder.weights
    codes = chosen((z - centre) @ encoder.T + bias, K, "topk").detach()
    found = dictionary.encode(x, group)
    assert np.allclose(found.csr.toarray(), 3 * codes, atol=1e-4)
    back = means[group] + 3 * (codes @ decoder + centre).detach()
    assert np.allclose(dictionary.decode(found, group), back, atol=1e-3)


def test_statistics_are_of_the_rows_that_count() -> None:
    rng = np.random.default_rng(0)
    x, group = rng.standard_normal((300, D)) + 2, np.arange(300) % 3
    x[:5] *= 1000
    found = Statistics.of(Rows.of(x, group), torch.device("cpu"))
    assert found.kept_U.tolist() == list(range(5, 300))
    assert found.norm_limit == pytest.approx(10 * np.median(np.linalg.norm(x, axis=1)))
    assert np.allclose(found.mean_D, x[5:].mean(0), atol=1e-6)
    means = np.stack([x[5:][group[5:] == g].mean(0) for g in range(3)])
    assert found.means_GD is not None
    assert np.allclose(found.means_GD, [*means, x[5:].mean(0)], atol=1e-6)
    left = x[5:] - means[group[5:]]
    assert found.scale == pytest.approx(np.sqrt(np.square(left).mean()), rel=1e-5)


def test_the_rate_rises_and_falls() -> None:
    recipe = DictionaryRecipe(warmup=4)
    rates = [recipe.rate(1024, step, 50) for step in range(50)]
    assert rates[:5] == pytest.approx([5e-4, 1e-3, 1.5e-3, 2e-3, 2e-3])
    assert rates[39:41] == pytest.approx([2e-3, 2e-3])
    assert rates[-1] == pytest.approx(2e-4)
    assert recipe.rate(4096, 20, 50) == pytest.approx(1e-3)


def test_the_threshold_is_what_k_of_a_row_are_above() -> None:
    coder = Coder.new((M, D), K, DictionaryRecipe(), ("", 0), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn((B, D), generator=generator) for _ in range(3)]
    threshold = coder.threshold(batches)
    before = torch.cat([batch @ coder.weights[0].T for batch in batches])
    assert int((before > threshold).sum()) == 3 * B * K - 1
