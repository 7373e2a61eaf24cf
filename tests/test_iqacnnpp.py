"""IQA-CNN++: sizes of the port, a slow network, the vote of the patches and its ties, and both parts of the loss."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from iqa_lab.no_reference import iqacnnpp
from iqa_lab.no_reference.iqacnnpp import UNKNOWN, IQACNNpp, majority_vote, type_loss

PORT_SHAPES = {"conv1.weight": (8, 1, 3, 3), "conv1.bias": (8,), "conv2.weight": (50, 8, 3, 3), "conv2.bias": (50,),
               "fc1.weight": (128, 100), "fc1.bias": (128,), "fc2.weight": (512, 128), "fc2.bias": (512,),
               "fc3_q.weight": (1, 512), "fc3_q.bias": (1,), "fc3_d.weight": (5, 512), "fc3_d.bias": (5,)}


def network(**options) -> IQACNNpp:
    torch.manual_seed(0)
    return IQACNNpp(parameters="random", **options).double().eval()


def photos(n: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)


def votes_for(types: list[int], n_types: int = 3) -> torch.Tensor:
    """Returns logits (1, P, n_types) of patches that are all equally sure."""
    return 2.0 * torch.nn.functional.one_hot(torch.tensor(types), n_types)[None]


def test_the_numbers_of_parameters_are_the_ports():
    def count(**options) -> int:
        return sum(parameter.numel() for parameter in IQACNNpp(parameters="random", **options).parameters())

    assert count(n2=32) == 79_862 and count() == count(n2=50) == 85_784
    assert count(n_types=0) == 85_784 - 5 * 513
    assert {name: tuple(value.shape) for name, value in network().state_dict().items()} == PORT_SHAPES


def test_outputs_of_a_slow_network():
    """The same layers written out with scipy and NumPy."""
    gray = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(float)
    mean = ndimage.uniform_filter(gray, 3, mode="reflect")  # scipy's reflect repeats the edge sample
    deviation = np.sqrt(np.maximum(ndimage.uniform_filter(gray**2, 3, mode="reflect") - mean**2, 0))
    model = network(C=5.0)
    p = {name: value.numpy() for name, value in model.state_dict().items()}
    x = (gray - mean) / (deviation + 5)
    first = np.stack([ndimage.correlate(x, kernel[0])[1:-1, 1:-1] + b
                      for kernel, b in zip(p["conv1.weight"], p["conv1.bias"])])
    halved = first.reshape(8, 15, 2, 15, 2).max((2, 4))
    maps = np.stack([sum(ndimage.correlate(plane, k) for plane, k in zip(halved, kernel))[1:-1, 1:-1] + b
                     for kernel, b in zip(p["conv2.weight"], p["conv2.bias"])])
    hidden = np.concatenate((maps.max((1, 2)), maps.min((1, 2))))
    for layer in ("fc1", "fc2"):
        hidden = np.maximum(p[f"{layer}.weight"] @ hidden + p[f"{layer}.bias"], 0)
    score, logits = (p[f"{layer}.weight"] @ hidden + p[f"{layer}.bias"] for layer in ("fc3_q", "fc3_d"))
    found = model.patch_outputs(torch.from_numpy(gray / 255)[None, None])
    np.testing.assert_allclose(found[0].detach(), score, rtol=1e-9)
    np.testing.assert_allclose(found[1].detach()[0], logits, rtol=1e-9)


def test_an_image_has_the_mean_score_of_its_patches_and_most_of_their_types():
    model, image = network(), photos(2, 70, 100)
    patches = [image[:, :, top:top + 32, left:left + 32] for top in (0, 32) for left in (0, 32, 64)]
    outputs = [model.patch_outputs(patch) for patch in patches]
    torch.testing.assert_close(model(image), torch.stack([scores for scores, _ in outputs]).mean(0))
    types = torch.stack([logits.argmax(1) for _, logits in outputs])  # P, N
    counts = [Counter(column.tolist()) for column in types.T]
    assert all(found[kind] == max(found.values()) for found, kind in zip(counts, model.types(image).tolist()))
    assert model.types(image).shape == (2,) and model.types(image).dtype == torch.int64
    changed = image.clone()
    changed[..., 64:, :], changed[..., 96:] = 0, 1  # beyond the last whole patch
    assert torch.equal(model(changed), model(image))


def test_most_votes_win():
    assert majority_vote(votes_for([2, 2, 1, 0, 2])).item() == 2
    sure, unsure = torch.tensor([[0.0, 90, 0]]), torch.tensor([[0.1, 0, 0]])
    assert majority_vote(torch.stack((unsure, unsure, sure), 1)).item() == 0  # two votes beat one, however sure it is


def test_ties_go_to_the_more_probable_type_then_to_the_first():
    tie = votes_for([0, 0, 1, 1])
    assert majority_vote(tie).item() == 0
    tie[0, 3, 1] = 3.0  # one of the votes for type 1 is surer
    assert majority_vote(tie).item() == 1
    tie[0, 0, 2] = 1.9  # a loser with many half votes is no winner
    assert majority_vote(tie).item() == 1
    assert majority_vote(votes_for([2, 1])).item() == 1


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4))
def test_the_vote_is_that_of_a_plain_count(rows):
    expected = [min(counts, key=lambda kind: (-counts[kind], kind)) for counts in map(Counter, rows)]
    assert majority_vote(torch.cat([votes_for(row, 4) for row in rows])).tolist() == expected


def test_the_loss_is_half_error_and_half_cross_entropy():
    model, crops = network(), photos(6, 32, 32).view(2, 3, 3, 32, 32)
    scores, logits = (part.detach().view(2, 3, -1).numpy() for part in model.patch_outputs(crops.flatten(0, 1)))
    targets = torch.tensor([np.median(scores[0]), -1.0], dtype=torch.float64)  # patches lie on both sides of the first one
    types = torch.tensor([4, 1])
    error = np.abs(scores[..., 0] - targets.numpy()[:, None]).mean()
    surprise = np.mean([np.log(np.exp(logits[i, j]).sum()) - logits[i, j, types[i]] for i in range(2) for j in range(3)])
    assert model.loss(crops, targets, types).item() == pytest.approx(0.5 * error + 0.5 * surprise, rel=1e-12)
    single = network(n_types=0)
    single.load_state_dict({key: value for key, value in model.state_dict().items() if "fc3_d" not in key})
    assert single.loss(crops, targets).item() == pytest.approx(error, rel=1e-12)
    assert torch.equal(single.loss(crops, targets, types), single.loss(crops, targets))


def test_images_without_a_known_type_are_left_out():
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    types = torch.tensor([2, UNKNOWN, 0])
    torch.testing.assert_close(type_loss(logits, types), type_loss(logits[[0, 2]], types[[0, 2]]))
    nothing = type_loss(logits, torch.full((3,), UNKNOWN))
    assert nothing.item() == 0
    nothing.backward()
    assert (logits.grad == 0).all()


def test_learning_lowers_both_parts_of_the_loss():
    torch.manual_seed(0)
    model = IQACNNpp(parameters="random", n_types=2).train()
    noise = torch.rand(8, 4, 1, 32, 32)
    crops = torch.cat((noise[:4], torch.nn.functional.avg_pool2d(noise[4:].flatten(0, 1), 3, 1, 1).view(4, 4, 1, 32, 32)))
    targets, types = torch.tensor([1.0] * 4 + [-1.0] * 4), torch.tensor([0] * 4 + [1] * 4)
    optimiser, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(30):
        losses.append(model.loss(crops, targets, types))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert min(losses[-3:]) < 0.7 * losses[0]
    model.eval()
    sharp, blurred = (part.permute(0, 2, 1, 3, 4).reshape(4, 1, 128, 32) for part in (crops[:4], crops[4:]))
    assert model.types(sharp).tolist() == [0] * 4 and model.types(blurred).tolist() == [1] * 4
    assert model(sharp).min() > model(blurred).max()


def test_neither_batch_nor_chunks_matter(monkeypatch):
    model, image = network(), photos(3, 64, 96)
    together, logits = model(image), model.scores_and_logits(image)[1]
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    monkeypatch.setattr(iqacnnpp, "PIXELS", 5 * 32**2)
    torch.testing.assert_close(model(image), together)
    torch.testing.assert_close(model.scores_and_logits(image)[1], logits)


def test_dropout_is_for_training_alone():
    model, image = network(), photos(1, 32, 32)
    assert torch.equal(model(image), model(image))
    model.train()
    assert len({model(image).item() for _ in range(8)}) > 1


def test_gradcheck_and_flat_images():
    model = network(n2=4)
    targets, types = torch.tensor([0.5], dtype=torch.float64), torch.tensor([3])
    crops = (photos(1, 32, 32)[:, :1]).view(1, 1, 1, 32, 32).requires_grad_()
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(lambda x: model.loss(x, targets, types), crops, fast_mode=True)
    flat = torch.full((1, 2, 3, 32, 32), 0.4, dtype=torch.float64, requires_grad=True)
    model.loss(flat, targets, types).backward()
    assert flat.grad.isfinite().all() and all(value.grad.isfinite().all() for value in model.parameters())


def test_rescaling_moves_the_scores_and_not_the_types():
    model, image = network(), photos(2, 32, 64)
    before, logits = model(image), model.scores_and_logits(image)[1]
    model.rescale_output(50.0, 20.0)
    torch.testing.assert_close(model(image), 20 * before + 50)
    assert torch.equal(model.scores_and_logits(image)[1], logits)


def test_files_of_the_port_and_our_own_load_and_others_are_refused(tmp_path):
    generator = torch.Generator().manual_seed(1)
    state = {name: torch.randn(shape, generator=generator) for name, shape in PORT_SHAPES.items()}
    torch.save(state, tmp_path / "port.pth")
    model = IQACNNpp(parameters=tmp_path / "port.pth", C=255.0)
    assert torch.equal(model.fc3_d.weight, state["fc3_d.weight"]) and "UNTRAINED" not in repr(model)
    with pytest.raises(ValueError, match="unexpected: fc3_d.bias, fc3_d.weight"):
        IQACNNpp(parameters=tmp_path / "port.pth", n_types=0)
    with pytest.raises(ValueError, match="conv2.weight .* instead of"):
        IQACNNpp(parameters=tmp_path / "port.pth", n2=32)


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="no trained network is published.*iqa_lab.training.train"):
        IQACNNpp()
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        IQACNNpp(parameters=Path("nowhere.pt"))
    with pytest.raises(ValueError, match="got none for a network with n_types=5; n_types=0"):
        network().loss(photos(1, 32, 32)[None], torch.zeros(1))
    with pytest.raises(ValueError, match="got n_types=0"):
        network(n_types=0).types(photos(1, 32, 32))
    with pytest.raises(ValueError, match="32 pixels"):
        network()(photos(1, 31, 64))
    assert "UNTRAINED" in repr(network())
