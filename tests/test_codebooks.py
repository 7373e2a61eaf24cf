"""What CORNIA and HOSA share: scores of difficult images, batches and types, with the shipped codebooks."""

from __future__ import annotations

import pytest
import torch
from test_cornia import corner, difficult_images, write_regressor
from torch import nn

from iqa_lab.no_reference.cornia import CORNIA
from iqa_lab.no_reference.hosa import HOSA

SYSTEMS = {"cornia": (CORNIA, 20000, "40x50"), "hosa": (HOSA, 14700, "90x110")}  # features, size of the images


@pytest.fixture(scope="module", params=SYSTEMS)
def model(request, tmp_path_factory) -> nn.Module:
    create, n_features, _ = SYSTEMS[request.param]
    return create(parameters=write_regressor(tmp_path_factory.mktemp(request.param) / "r.npz", n_features))


@pytest.mark.parametrize("name", difficult_images(16))
def test_difficult_images_have_a_finite_score_and_gradient(name, model):
    image = difficult_images(40)[name].requires_grad_()
    score = model(image)
    score.sum().backward()
    assert score.isfinite().all() and image.grad.isfinite().all()


def test_a_score_does_not_depend_on_its_batch_nor_much_on_its_type(model):
    size = SYSTEMS[type(model).__name__.lower()][2]
    image = torch.cat([corner(f"{name}_{size}") for name in ("ref", "quant", "noise")])
    together = model(image)
    torch.testing.assert_close(together, torch.cat([model(x[None]) for x in image]), rtol=1e-9, atol=0)
    assert model(image.float()).dtype == torch.float32
    torch.testing.assert_close(model(image.float()).double(), together, rtol=1e-6, atol=0)
    assert len(together.unique()) == 3
