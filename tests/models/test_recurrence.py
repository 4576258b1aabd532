"""The GRU with its gradient written out is torch's."""

from __future__ import annotations

import pytest
import torch
from own_models import agree, build
from torch import nn

from mecheval.models.layers.recurrence import run_gru, train_gru


def layer_and_inputs(*, examples: int = 3, positions: int = 7):
    layer = nn.GRU(4, 4, batch_first=True).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    x_BTD = torch.randn(examples, positions, 4, generator=generator, dtype=torch.float64)
    h_BD = torch.randn(examples, 4, generator=generator, dtype=torch.float64)
    return layer, x_BTD.requires_grad_(), h_BD.requires_grad_()


def gradients(outputs, inputs):
    """Return the gradients of a loss that weighs every entry of every output differently."""
    loss = sum((torch.arange(1, y.numel() + 1) * y.flatten().sin()).sum() for y in outputs)
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("run", [run_gru, train_gru])
@pytest.mark.parametrize("positions", [1, 7])
def test_outputs_and_gradients_are_those_of_torch(run, positions):
    layer, x_BTD, h_BD = layer_and_inputs(positions=positions)
    inputs = [x_BTD, h_BD, *layer.parameters()]
    y_BTD, last_1BD = layer(x_BTD, h_BD[None])
    found_BTD, (found_BD,) = run(layer, x_BTD, (h_BD,))
    assert agree(found_BTD, y_BTD)
    assert agree(found_BD, last_1BD[0])
    expected = gradients((y_BTD, last_1BD), inputs)
    for found, gradient in zip(gradients((found_BTD, found_BD), inputs), expected, strict=True):
        assert agree(found, gradient)


@pytest.mark.parametrize("run", [run_gru, train_gru])
def test_without_a_state_it_starts_from_zeros(run):
    layer, x_BTD, _ = layer_and_inputs()
    assert agree(run(layer, x_BTD, ())[0], layer(x_BTD)[0])


def test_inputs_have_a_gradient_where_weights_have_none():
    layer, x_BTD, _ = layer_and_inputs()
    layer.requires_grad_(False)
    expected = gradients((layer(x_BTD)[0],), [x_BTD])[0]
    assert agree(gradients((train_gru(layer, x_BTD, ())[0],), [x_BTD])[0], expected)


def test_a_model_is_the_same_with_a_gradient_and_without():
    model = build("gru[layers=2,width=8]").double()
    tokens_BT = torch.arange(12).reshape(2, 6) % 6
    with torch.no_grad():
        without_BTC = model(tokens_BT)
    assert agree(model(tokens_BT), without_BTC)
