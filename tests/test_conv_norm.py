"""Convolution with batch normalisation: one step gives what two give, and training still sees two."""

import pytest
import torch
from torch import nn

from iqa_lab.ops.conv_norm import ConvNorm


def layers(bias: bool) -> list[nn.Module]:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    for numbers in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(numbers, 0.5, 2)
    return [nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=bias), norm, nn.ReLU()]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_one_step_is_two(bias, training):
    x = torch.randn(3, 4, 9, 8, dtype=torch.float64)
    joined = ConvNorm(*layers(bias)).double().train(training)
    apart = nn.Sequential(*layers(bias)).double().train(training)
    for _ in range(2):  # training moves the statistics
        found, expected = joined(x), apart(x)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.square().sum().backward()
    expected.square().sum().backward()
    for ours, theirs in zip(joined.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)
    assert joined[0].weight.grad.abs().max() > 1e-3


def test_state_has_the_names_of_a_sequence_and_a_slice_stays_one():
    network = ConvNorm(*layers(bias=True))
    assert list(network.state_dict()) == list(nn.Sequential(*layers(bias=True)).state_dict())
    assert isinstance(network[:2], ConvNorm) and network[:2].eval()(torch.randn(1, 4, 8, 8)).min() < 0
