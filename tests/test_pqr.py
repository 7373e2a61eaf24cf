"""PQR: the specification's labels, the authors' small network, the grid of patches, both losses and the regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import NuSVR

from iqa_lab.no_reference import pqr
from iqa_lab.no_reference.pqr import PQR, anchors, create_s_cnn, soft_labels

IMAGENET = 255 * torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
LITE0 = {"backbone": "efficientnet_lite0", "weights": "random"}
GOLDEN = {0.5: (0.00003093, 0.06694901, 0.86604013, 0.06694901, 0.00003093),
          0.37: (0.00871454, 0.67654085, 0.31387438, 0.00087022, 0.00000001)}


def network(**options) -> PQR:
    torch.manual_seed(0)
    model = PQR(**{"parameters": "random"} | options).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.2)  # probabilities that differ
    return model


def photos(n: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("score", GOLDEN)
def test_the_labels_of_the_specification(score):
    found = soft_labels(torch.tensor([score], dtype=torch.float64))
    np.testing.assert_allclose(found[0], GOLDEN[score], atol=5.1e-9)


@given(st.floats(0, 1), st.integers(2, 12), st.floats(1, 500))
def test_labels_are_normalised_weights(score, n_anchors, beta):
    middles = [(k + 0.5) / n_anchors for k in range(n_anchors)]
    nearest = min((score - c) ** 2 for c in middles)  # taken away from all exponents: the quotient stays
    weights = [np.exp(-beta * ((score - c) ** 2 - nearest)) for c in middles]
    found = soft_labels(torch.tensor([score], dtype=torch.float64), n_anchors=n_anchors, beta=beta)[0]
    np.testing.assert_allclose(found, np.array(weights) / sum(weights), atol=1e-10)
    np.testing.assert_allclose(anchors(n_anchors), middles)


def test_the_numbers_of_parameters_are_the_authors():
    def count(**options) -> int:
        return sum(parameter.numel() for parameter in PQR(parameters="random", **options).parameters())

    assert count() == 915_781 and count(n_anchors=1) == 915_781 - 4 * 513
    assert count(batch_norm=True) == 915_781 + 32 + 64 + 128 + 256  # two numbers for each bias that goes
    assert create_s_cnn(False)(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 1, 1)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_probabilities_of_a_slow_network(batch_norm):
    """Layer by layer in the order of the authors' code: convolution, normalisation, pooling, ReLU."""
    model, patch = network(batch_norm=batch_norm), photos(1, 64, 64)
    state = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    if batch_norm:
        for name, value in state.items():
            if name.endswith("running_mean"):
                value.normal_(std=3.0)  # in place: of the model too
    tensors = iter(value for name, value in state.items() if not name.endswith("num_batches_tracked"))
    x = 255 * patch - IMAGENET
    for _ in range(4):
        weight = next(tensors)
        x = F.conv2d(x, weight, None if batch_norm else next(tensors))
        if batch_norm:
            gain, shift, mean, variance = (next(tensors)[:, None, None] for _ in range(4))
            x = gain * (x - mean) / torch.sqrt(variance + 1e-5) + shift
        x = F.relu(F.max_pool2d(x, 2))
    x = F.relu(F.conv2d(x, next(tensors), next(tensors))).flatten()
    powers = (model.head.weight @ x + model.head.bias).exp()
    torch.testing.assert_close(model.patch_vectors(patch)[0], powers / powers.sum())


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (150, 200)])
def test_an_image_is_the_mean_of_its_patches(size):
    image, model = photos(2, *size), network()
    places = [(row, column) for row in range(0, size[0] - 63, 64) for column in range(0, size[1] - 63, 64)]
    patches = [model.patch_vectors(image[..., row:row + 64, column:column + 64]) for row, column in places]
    torch.testing.assert_close(model.vectors(image), torch.stack(patches).mean(0))


def test_crops_of_a_pretrained_network_overlap():
    model = network(**LITE0)
    assert model.patch_size == 224 and model.head.in_features == 1280
    image = photos(1, 100, 300)  # lower than a crop: taken whole
    crops = [model.patch_vectors(image[..., start:start + 224]) for start in (0, 64)]
    torch.testing.assert_close(model.vectors(image), torch.stack(crops).mean(0))


def test_until_it_is_fitted_the_score_is_the_mean_of_the_anchors():
    image, model = photos(2, 64, 128), network()
    expected = model.vectors(image).detach().numpy() @ [0.1, 0.3, 0.5, 0.7, 0.9]
    np.testing.assert_allclose(model(image).detach(), expected, rtol=1e-6)
    baseline = network(n_anchors=1)
    torch.testing.assert_close(baseline(image), baseline.vectors(image)[:, 0])


def test_the_loss_and_the_gradient_of_the_authors_code():
    """myLoss.m: sum c log(c / p), with the gradient p - c of the outputs; mean over the patches."""
    crops, model = photos(6, 64, 64).view(2, 3, 3, 64, 64), network()
    targets = torch.tensor([0.37, 0.9], dtype=torch.float64)
    p = model.patch_vectors(crops.flatten(0, 1)).detach()
    c = soft_labels(targets).repeat_interleave(3, 0)
    loss = model.loss(crops, targets)
    assert loss.item() == pytest.approx((c * (c / p).log()).sum(1).mean().item(), rel=1e-9)
    loss.backward()
    torch.testing.assert_close(model.head.bias.grad, (p - c).mean(0))
    baseline = network(n_anchors=1)
    outputs = baseline.patch_vectors(crops.flatten(0, 1)).detach()
    baseline.loss(crops, targets).backward()
    torch.testing.assert_close(baseline.head.bias.grad, (outputs - targets.repeat_interleave(3)[:, None]).mean(0))


def test_the_regression_is_libsvms_on_any_scale():
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, 60)
    vectors = soft_labels(torch.from_numpy(scores)).numpy() + random.normal(0, 0.01, (60, 5))
    expected = NuSVR(kernel="linear").fit(vectors, (scores - scores.min()) / np.ptp(scores)).predict(vectors)
    for low, high in ((0.0, 1.0), (30.0, 90.0), (100.0, 0.0)):
        model = network()
        model.fit_regression(vectors, low + (high - low) * (scores - scores.min()) / np.ptp(scores))
        found = vectors @ model.regression_weights.numpy() + model.regression_bias.item()
        np.testing.assert_allclose((found - low) / (high - low), expected, atol=0.01)  # libsvm stops at 0.001
    model = network()
    before = model.vectors(photos(1, 64, 64))
    model.fit_regression(vectors, 100 * scores)
    torch.testing.assert_close(model(photos(1, 64, 64)), before @ model.regression_weights + model.regression_bias)
    assert np.corrcoef(vectors @ model.regression_weights.numpy(), scores)[0, 1] > 0.9


@pytest.mark.parametrize("options", [{"n_anchors": 1}, {"batch_norm": True}, {}], ids=str)
def test_learning_lowers_the_loss(options):
    torch.manual_seed(0)
    model = PQR(parameters="random", **options).train()
    crops = torch.rand(4, 2, 3, 64, 64) * torch.tensor([1.0, 1.0, 0.2, 0.2]).view(4, 1, 1, 1, 1)
    targets, losses = torch.tensor([0.9, 0.9, 0.1, 0.1]), []
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(20):
        losses.append(model.loss(crops, targets))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert min(losses[-3:]) < 0.5 * losses[0]


def test_rescaling_moves_the_score_and_not_what_is_learned():
    image, crops = photos(2, 64, 64), photos(2, 64, 64)[:, None]
    for options in ({}, {"n_anchors": 1}):
        model, targets = network(**options), torch.tensor([0.2, 0.7], dtype=torch.float64)
        before, loss = model(image), model.loss(crops, targets)
        model.rescale_output(50.0, 20.0)
        torch.testing.assert_close(model(image), 20 * before + 50)
        assert torch.equal(model.loss(crops, targets), loss)


def test_neither_batch_nor_parts_matter(monkeypatch):
    image, model = photos(3, 64, 130), network()
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(pqr, "PIXELS", 1)
    torch.testing.assert_close(model(image), together)
    torch.testing.assert_close(model(image[:, :1]), model(image[:, :1].expand(-1, 3, -1, -1)))


def test_dropout_and_what_is_trained():
    image, model = photos(1, 64, 64), network()
    assert torch.equal(model(image), model(image))
    model.train()
    assert len({model(image).item() for _ in range(8)}) > 1
    assert all(parameter.requires_grad for parameter in model.parameters())
    borrowed = network(**LITE0).train()
    assert not borrowed.backbone.training
    assert [name for name, part in borrowed.named_parameters() if part.requires_grad] == ["head.weight", "head.bias"]
    borrowed.set_trainable("all")
    assert all(parameter.requires_grad for parameter in borrowed.parameters()) and borrowed.backbone.training
    with pytest.raises(ValueError, match="head, all"):
        borrowed.set_trainable("some")


def test_gradcheck_and_flat_images():
    model, targets = network(), torch.tensor([0.4], dtype=torch.float64)
    torch.manual_seed(0)
    crops = photos(1, 64, 64)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model.loss(x, targets), crops, fast_mode=True)
    flat = torch.full((1, 3, 64, 64), 0.4, dtype=torch.float64, requires_grad=True)
    model(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_a_file_of_a_pretrained_system_needs_no_backbone(tmp_path):
    torch.manual_seed(0)
    model, image = PQR(parameters="random", **LITE0).eval(), photos(1, 64, 64).float()
    model.rescale_output(3.0, 2.0)
    torch.save(model.state_dict(), tmp_path / "whole.pt")
    loaded = PQR(parameters=tmp_path / "whole.pt", **LITE0).eval()
    assert torch.equal(loaded(image), model(image)) and "UNTRAINED" not in repr(loaded)
    head = {key: value for key, value in model.state_dict().items() if not key.startswith("backbone.")}
    torch.save(head, tmp_path / "head.pt")
    loaded = PQR(parameters=tmp_path / "head.pt", **LITE0).eval()
    assert torch.equal(loaded.head.weight, model.head.weight) and "UNTRAINED" in repr(loaded) and not loaded.untrained
    with pytest.raises(ValueError, match="missing: backbone.0.bias"):
        PQR(parameters=tmp_path / "head.pt")
    with pytest.raises(ValueError, match=r"head.bias \(5,\) instead of \(1,\)"):
        PQR(parameters=tmp_path / "head.pt", n_anchors=1, **LITE0)
    own = network().float()
    torch.save(own.state_dict(), tmp_path / "own.pt")
    assert torch.equal(PQR(parameters=tmp_path / "own.pt").eval()(image), own(image))


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="published no trained network"):
        PQR()
    with pytest.raises(ValueError, match="s_cnn, alexnet"):
        PQR(backbone="lenet", parameters="random")
    with pytest.raises(ValueError, match="64 pixels"):
        network()(photos(1, 63, 64))
    assert "UNTRAINED" in repr(network())
