"""No system leaves a tensor on the CPU when it works on a GPU: found without one, by tensors with a device but no values."""

import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from iqa_lab import METRICS, create_metric
from test_metric_contract import SMALL, H, W, call, random_options

NEEDS_NUMBERS = (DataDependentOutputException, DynamicOutputShapeException)


@pytest.fixture(autouse=True)
def no_fake_kernels_are_kept() -> Iterator[None]:
    yield
    clear_caches()


def clear_caches() -> None:
    """Empties every cache of the package: kernels made among fake tensors are fake, too."""
    for name, module in list(sys.modules.items()):
        if name.startswith("iqa_lab."):
            for value in vars(module).values():
                if hasattr(type(value), "cache_clear"):  # not the value: a proxy of Flask would answer
                    value.cache_clear()


def create(name: str) -> nn.Module:
    try:
        return create_metric(name)
    except FileNotFoundError as error:
        if not (options := random_options(name)):
            pytest.skip(f"official parameters are not shipped: {error}")
        return create_metric(name, **options, **SMALL.get(name, {}))


def move_to_fake_cuda(metric: nn.Module) -> None:
    for module in metric.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    moved = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
                    tensors[name] = nn.Parameter(moved, requires_grad=False) if tensors is module._parameters else moved


def fake_score(metric: nn.Module) -> torch.Tensor:
    images = torch.rand(2, 2, 3, H, W, device="cuda")
    return call(metric, *images)


@pytest.mark.parametrize("name", METRICS)
def test_a_forward_pass_mixes_no_devices(name, monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("tests download nothing")

    monkeypatch.setattr("iqa_lab.downloads.download", offline)
    metric, fakes = create(name), FakeTensorMode(allow_non_fake_inputs=True)
    with fakes, torch.no_grad():
        move_to_fake_cuda(metric)
        try:
            score = fake_score(metric)
        except NEEDS_NUMBERS:
            score = None
    if score is None:
        clear_caches()
        with torch.no_grad():
            call(create(name), *torch.rand(2, 2, 3, H, W))  # on the CPU: what is read there of constants is in caches then
        with fakes, torch.no_grad():
            try:
                score = fake_score(metric)
            except NEEDS_NUMBERS as error:
                pytest.skip(f"the forward pass depends on the numbers in its tensors: {error}")
    assert score.device.type == "cuda" and score.shape == (2,)


def test_a_tensor_on_the_cpu_is_found():
    class Forgetful(nn.Module):
        kind = "NR"

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image.mean((2, 3)) * torch.tensor([0.2, 0.6, 0.2])).sum(1)

    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(RuntimeError, match="two (different )?devices"):
        fake_score(Forgetful())
