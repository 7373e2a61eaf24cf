"""LPIPS against published numbers and a plain version on torchvision's networks; its judge; what is trained and kept."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import models

from iqa_lab import load_image
from iqa_lab.backbones.checkpoints import read_state
from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.weights import find_weights, local_weights
from iqa_lab.full_reference.lpips import BACKBONES, LPIPS, VARIANTS, unit_length
from iqa_lab.full_reference.lpips_judge import PreferenceJudge, TwoAFC, two_afc_score

#: The authors' slices of torchvision's ``features``.
SLICES = {"alexnet": (models.alexnet, (2, 5, 8, 10, 12)), "vgg16": (models.vgg16, (4, 9, 16, 23, 30)),
          "squeezenet": (models.squeezenet1_1, (2, 5, 8, 10, 11, 12, 13))}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def random_pair(n: int = 2, height: int = 64, width: int = 70, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def golden(*parts: str) -> Path:
    if "IQA_LAB_DATA" not in os.environ:
        pytest.skip("needs the golden images: set IQA_LAB_DATA")
    return Path(os.environ["IQA_LAB_DATA"]).joinpath("golden", *parts)


def system(backbone: str, **options) -> LPIPS:
    """Returns the system with the real backbone, or skips: tests download nothing."""
    files = {"alexnet": ("alexnet_features", "alexnet_imagenet"), "vgg16": ("vgg16_imagenet",),
             "squeezenet": ("squeezenet_features",)}
    if not any(local_weights(name) for name in files[backbone]):
        pytest.skip(f"needs one of the files {', '.join(files[backbone])}: set IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    return LPIPS(backbone=backbone, **options)


def plain_layers(maps: list[torch.Tensor], other: list[torch.Tensor], heads: list[torch.Tensor]) -> torch.Tensor:
    """Returns the share of each layer by the authors' formulas, one line for each."""
    shares = []
    for a, b, head in zip(maps, other, heads, strict=True):
        a, b = (x / (torch.sqrt(torch.sum(x**2, dim=1, keepdim=True)) + 1e-10) for x in (a, b))
        shares.append(F.conv2d((a - b)**2, head.to(a.dtype)).mean((1, 2, 3)))
    return torch.stack(shares, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_squeezenet_gives_the_values_that_torchmetrics_publishes(dtype):
    metric, generator = system("squeezenet").to(dtype), torch.Generator().manual_seed(42)
    first, second = ((torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1).to(dtype) for _ in range(2))
    scores = metric((first + 1) / 2, (second + 1) / 2)
    assert scores.dtype == dtype and scores.tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)
    torch.manual_seed(42)
    first, second = ((torch.rand(10, 3, 100, 100) * 2 - 1).to(dtype) for _ in range(2))
    assert metric((first + 1) / 2, (second + 1) / 2).mean().item() == pytest.approx(0.1005, abs=5e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backbone, options, expected", [
    ("alexnet", {}, (0.721881, 0.137566)), ("alexnet", {"version": "0.0"}, (0.405575, 0.083881)),
    ("alexnet", {"heads": False}, (4.826557, 2.206010)), ("squeezenet", {"version": "0.0"}, (0.396770, 0.086290)),
    ("squeezenet", {"heads": False}, (6.040976, 2.877766))])
def test_versions_and_baseline_give_the_values_of_the_reference(backbone, options, expected, dtype):
    metric = system(backbone, **options).to(dtype)
    images = [load_image(golden("deep_fr_examples", f"lpips_ex_{name}.png")).to(dtype) for name in ("p0", "p1", "ref")]
    assert metric(torch.cat(images[:2]), images[2].expand(2, -1, -1, -1)).tolist() == pytest.approx(expected, abs=3e-6)


@pytest.mark.parametrize("name, expected", [("i01", 0.17321), ("goldhill", 0.19509)])
def test_vgg16_gives_the_values_that_piq_publishes(name, expected):
    metric = system("vgg16")
    if name == "i01":
        pair = [load_image(golden("tid2013_pairs", file)) for file in ("distorted/i01_01_5.bmp", "reference/i01.bmp")]
    else:
        pair = [torch.from_numpy(np.array(Image.open(golden("piq", file)), dtype=np.float32) / 255)[None, None]
                for file in ("goldhill_jpeg.gif", "goldhill.gif")]
    assert metric(*pair).item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("version", ["0.1", "0.0"])
@pytest.mark.parametrize("backbone", SLICES)
def test_equals_the_plain_version_on_torchvisions_network(backbone, version, tmp_path):
    create, ends = SLICES[backbone]
    with torch.device("meta"):
        network = create(weights=None).features.eval()
    network = network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=math.sqrt(2 / max(1, parameter[0].numel())), generator=generator)
    torch.save({f"features.{key}": value for key, value in network.state_dict().items()}, tmp_path / "features.pth")
    official = read_state(find_weights(f"lpips_v{version}_{BACKBONES[backbone].official}"))
    metric = LPIPS(backbone=backbone, version=version, weights=tmp_path / "features.pth").double()
    pair, found = random_pair().double(), []
    shift, scale = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (SHIFT, SCALE))
    for image in pair:
        x = 2 * image - 1 if version == "0.0" else (2 * image - 1 - shift) / scale
        with torch.no_grad():
            found.append([x := part(x) for part in slices(network.double(), ends)])
    expected = plain_layers(*found, [official[f"lin{i}.model.1.weight"] for i in range(len(ends))])
    features = [metric.features(image) for image in pair]
    torch.testing.assert_close(metric.layer_distances(*features), expected, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(metric(*pair), expected.sum(1), rtol=1e-5, atol=1e-9)


def slices(features: torch.nn.Sequential, ends: tuple[int, ...]) -> list[torch.nn.Sequential]:
    return [features[start:end] for start, end in zip((0, *ends), ends)]


def test_the_first_stages_of_vgg16_with_its_real_weights():
    if not (path := local_weights("vgg16_blocks_1_and_2")):
        pytest.skip("needs the first two blocks of VGG-16: set IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    metric, part = LPIPS(backbone="vgg16", weights="random"), FeatureExtractor("vgg16", ["relu1_2", "relu2_2"])
    metric.network.load_state_dict({**metric.network.state_dict(), **part.state_dict()})
    tensors = {key.removeprefix("features."): value for key, value in read_state(path).items()}
    pair, found = random_pair(), []
    for image in pair:
        x = (2 * image - 1 - torch.tensor(SHIFT).view(3, 1, 1)) / torch.tensor(SCALE).view(3, 1, 1)
        maps = []
        for i in (0, 2, 5, 7):
            x = F.conv2d(F.max_pool2d(x, 2) if i == 5 else x, tensors[f"{i}.weight"], tensors[f"{i}.bias"], padding=1).relu()
            maps += [x] if i in (2, 7) else []
        found.append(maps)
    official = read_state(find_weights("lpips_v0.1_vgg"))
    expected = plain_layers(*found, [official[f"lin{i}.model.1.weight"] for i in range(2)])
    shares = metric.layer_distances(*(metric.features(image) for image in pair))[:, :2]
    torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-7)


#: Sums by layer, and the percentage of zeros.
HEADS = {
    ("alexnet", "0.1"): ((2.34953, 16.14303, 39.26844, 27.19718, 20.31718), (54.7, 28.6, 9.6, 7.0, 2.0)),
    ("vgg16", "0.1"): ((6.92599, 8.85833, 17.51501, 51.52132, 47.03485), (0, 0, 0, 0, 0)),
    ("squeezenet", "0.1"): ((5.69010, 1.18528, 16.32656, 71.01263, 37.37072, 24.26287, 17.59055), None),
    ("alexnet", "0.0"): ((2.56589, 10.25739, 22.43431, 16.31391, 13.93452), (67.2, 53.1, 16.4, 16.4, 2.7)),
    ("vgg16", "0.0"): (None, None), ("squeezenet", "0.0"): (None, None)}


@pytest.mark.parametrize("backbone, version", HEADS)
def test_the_shipped_heads_are_the_published_ones(backbone, version):
    heads = LPIPS(backbone=backbone, version=version, weights="random").heads
    sums, zeros = HEADS[backbone, version]
    assert {layer: len(head) for layer, head in heads.items()} == BACKBONES[backbone].channels
    assert list(heads) == list(BACKBONES[backbone].channels)  # in the order of the network
    assert sum(map(len, heads.values())) == {"alexnet": 1152, "vgg16": 1472, "squeezenet": 2240}[backbone]
    assert all((head >= 0).all() for head in heads.values())
    assert sums is None or [head.sum().item() for head in heads.values()] == pytest.approx(sums, abs=1e-4)
    found = [100 * (head == 0).double().mean().item() for head in heads.values()]
    assert zeros is None or found == pytest.approx(zeros, abs=0.051)


def test_the_scaling_is_that_of_imagenet():
    metric = LPIPS(backbone="squeezenet")
    inputs = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(-1, 3, 1, 1)
    scaled = ((inputs - metric.network.mean) / metric.network.std)[:, :, 0, 0]
    expected = [[-2.117904, -2.035714, -1.804444], [0.065502, 0.196429, 0.417778], [2.248908, 2.428571, 2.64]]
    torch.testing.assert_close(scaled, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(17, 17), (64, 64), (97, 131), (300, 280)])
def test_identical_images_have_exactly_the_distance_0(size):
    metric, (image, _) = LPIPS(backbone="squeezenet"), random_pair(3, *size)
    assert metric(image, image).tolist() == [0, 0, 0] and metric.spatial_map(image, image).abs().max() == 0
    distorted = image.clone().requires_grad_()
    metric(distorted, image).sum().backward()
    assert distorted.grad.abs().max() == 0


def test_symmetric_and_larger_for_more_noise():
    metric, (x, noise) = LPIPS(backbone="squeezenet"), random_pair()
    y = x + 0.3 * (noise - x)
    torch.testing.assert_close(metric(x, y), metric(y, x), rtol=1e-5, atol=1e-7)
    assert (metric(x, noise) > metric(x, y)).all() and (metric(x, y) > 0).all()


def test_without_heads_it_is_the_cosine_distance():
    metric, pair = LPIPS(backbone="squeezenet", heads=False), random_pair()
    maps = [metric.network(image) for image in pair]
    cosines = [F.cosine_similarity(maps[0][layer], maps[1][layer], dim=1).mean((1, 2)) for layer in metric.heads]
    torch.testing.assert_close(metric(*pair), sum(2 - 2 * cosine for cosine in cosines), rtol=1e-4, atol=1e-5)


def test_the_mean_of_the_map_is_the_score_where_the_sides_fit_the_strides():
    torch.manual_seed(0)
    metric, pair = LPIPS(backbone="vgg16", weights="random"), random_pair(2, 32, 48)
    maps = metric.spatial_map(*pair)
    assert maps.shape == (2, 1, 32, 48) and maps.min() >= 0
    torch.testing.assert_close(maps.mean((1, 2, 3)), metric(*pair), rtol=1e-4, atol=1e-7)


def test_the_map_shows_where_the_images_differ():
    metric, (x, y) = LPIPS(backbone="squeezenet"), random_pair(1, 200, 160)
    y = torch.where(torch.arange(160) < 40, y, x)
    maps = metric.spatial_map(x, y)[0, 0]
    assert maps[:, :40].mean() > 5 * maps[:, 120:].mean()
    official = read_state(find_weights("lpips_v0.1_squeeze"))
    d, r = (metric.network(image) for image in (x, y))
    expected = torch.zeros(1, 1, 200, 160)
    for i, layer in enumerate(metric.heads):
        a, b = (F.normalize(maps[layer], dim=1) for maps in (d, r))
        layer_map = F.conv2d((a - b)**2, official[f"lin{i}.model.1.weight"])
        expected += torch.nn.Upsample((200, 160), mode="bilinear", align_corners=False)(layer_map)
    torch.testing.assert_close(maps, expected[0, 0], rtol=1e-4, atol=1e-6)


def test_a_score_does_not_depend_on_its_batch_and_features_can_be_kept():
    metric, (distorted, reference) = LPIPS(backbone="squeezenet"), random_pair(5, 150, 150)  # parts of two images
    together = metric(distorted, reference[:1].expand(5, -1, -1, -1))
    alone = torch.cat([metric(distorted[i:i + 1], reference[:1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-7)
    kept = metric.features(reference[:1])
    torch.testing.assert_close(metric.distance(metric.features(distorted), kept), together, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(metric.distance(kept, metric.features(distorted)), together, rtol=1e-5, atol=1e-7)
    assert metric.distance(kept, kept).tolist() == [0]  # the first distance has not written over what was kept


def test_gradients_do_not_depend_on_who_wants_one():
    metric, (x, y) = LPIPS(backbone="squeezenet"), random_pair()
    both = [image.clone().requires_grad_() for image in (x, y)]
    metric(*both).sum().backward()
    for i in range(2):
        one = [image.clone().requires_grad_(i == j) for j, image in enumerate((x, y))]
        metric(*one).sum().backward()
        torch.testing.assert_close(one[i].grad, both[i].grad, rtol=1e-3, atol=1e-6 * both[i].grad.abs().max().item())
        assert one[1 - i].grad is None


def test_gradcheck():
    metric, generator = LPIPS(weights="random").double(), torch.Generator().manual_seed(0)
    maps = [torch.rand(1, n, 1, 1, generator=generator, dtype=torch.float64).requires_grad_()
            for _ in range(2) for n in BACKBONES["alexnet"].channels.values()]

    def distance(*maps):
        halves = maps[:len(maps) // 2], maps[len(maps) // 2:]
        return metric.layer_distances(*(dict(zip(metric.heads, map(unit_length, half), strict=True)) for half in halves))

    assert torch.autograd.gradcheck(distance, maps, fast_mode=True)
    pair = random_pair(1, 31, 33).double()
    assert torch.autograd.gradcheck(metric, [image.clone().requires_grad_() for image in pair], fast_mode=True, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_gradients_are_finite_on_flat_images_and_dead_pixels(value):
    flat, (_, reference) = torch.full((2, 3, 64, 70), value, requires_grad=True), random_pair()
    metric = LPIPS(backbone="squeezenet")
    metric(flat, reference).sum().backward()
    assert flat.grad.isfinite().all()
    dead = torch.zeros(1, 4, 2, 2, requires_grad=True)
    unit_length(dead).sum().backward()
    assert dead.grad.isfinite().all() and (unit_length(dead) == 0).all()


def test_gray_is_the_same_as_three_equal_channels():
    metric, pair = LPIPS(backbone="squeezenet"), random_pair()[:, :, :1]
    torch.testing.assert_close(metric(*pair), metric(*pair.expand(-1, -1, 3, -1, -1)), rtol=1e-5, atol=1e-7)


def test_what_is_trained_is_chosen():
    metric = LPIPS(backbone="squeezenet", parameters="random").train()
    assert not metric.training and not any(parameter.requires_grad for parameter in metric.parameters())
    pair = random_pair()
    metric.set_trainable("heads")
    assert metric.train().training and not metric.network.training
    metric(*pair).sum().backward()
    assert all(head.grad is not None for head in metric.heads.values())
    assert all(parameter.grad is None for parameter in metric.network.parameters())
    metric.set_trainable("tune")
    metric(*pair).sum().backward()
    assert all(parameter.grad is not None for parameter in metric.network.parameters())
    before = metric.network.state_dict()["network.conv1.weight"].clone()
    assert not metric.network.untrained
    metric.set_trainable("scratch")
    assert metric.network.untrained and not torch.equal(before, metric.network.network.conv1.weight)
    with pytest.raises(ValueError, match="heads, tune, scratch"):
        metric.set_trainable("lin")


def test_dropout_acts_only_in_training():
    metric, pair = LPIPS(backbone="squeezenet"), random_pair()
    still = metric(*pair)
    metric.set_trainable("heads")
    assert torch.equal(metric.eval()(*pair), still)
    torch.manual_seed(0)
    noisy = torch.stack([metric.train()(*pair) for _ in range(8)]).detach()
    assert not torch.equal(noisy[0], noisy[1])
    torch.testing.assert_close(noisy.mean(0), still, rtol=0.2, atol=0)  # dropout keeps the expected value
    assert not torch.equal(metric.train()(*pair), metric.requires_grad_(False).eval()(*pair))


def test_heads_learn_with_the_judge_and_stay_above_zero():
    torch.manual_seed(0)
    metric, judge = LPIPS(backbone="squeezenet", parameters="random"), PreferenceJudge()
    metric.set_trainable("heads")
    reference, noise = random_pair(8, 32, 32)
    with torch.no_grad():
        d0, d1 = (metric.features((1 - share) * reference + share * noise) for share in (0.1, 0.4))
        kept = metric.features(reference)
    optimiser, losses = torch.optim.Adam([*metric.heads.values(), *judge.parameters()], 1e-2, betas=(0.5, 0.999)), []
    for _ in range(40):
        loss = judge.loss(metric.distance(d0, kept), metric.distance(d1, kept), torch.full((8,), 0.1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        metric.project()
        losses.append(loss.item())
    best = -0.1 * math.log(0.1) - 0.9 * math.log(0.9)
    assert losses[-1] < losses[0] and losses[-1] == pytest.approx(best, abs=0.05)
    assert all((head >= 0).all() for head in metric.heads.values())
    metric.heads["relu1"].data[:3] = -1
    metric.project()
    assert metric.heads["relu1"][:3].tolist() == [0, 0, 0]


def test_official_files_and_own_states_are_loaded_strictly(tmp_path):
    metric, pair = LPIPS(backbone="squeezenet", version="0.0"), random_pair()
    path = find_weights("lpips_v0.0_squeeze")
    loaded = LPIPS.from_official(path, backbone="squeezenet", version="0.0", weights="imagenet")
    assert torch.equal(loaded(*pair), metric(*pair)) and not loaded.untrained
    named = LPIPS(backbone="squeezenet", version="0.0", parameters="lpips_v0.0_squeeze")
    assert torch.equal(named(*pair), metric(*pair))
    with pytest.raises(ValueError, match="missing: fire8, fire9"):
        LPIPS.from_official(find_weights("lpips_v0.0_alex"), backbone="squeezenet", version="0.0", weights="imagenet")
    with pytest.raises(ValueError, match=r"relu2_2 \(192,\) instead of \(128,\)"):
        LPIPS.from_official(find_weights("lpips_v0.0_alex"), backbone="vgg16", version="0.0", weights="random")
    torch.save(metric.heads.state_dict(), tmp_path / "heads.pt")
    own = LPIPS(backbone="squeezenet", version="0.0", parameters=tmp_path / "heads.pt")
    torch.save(metric.state_dict(), tmp_path / "whole.pt")
    whole = LPIPS(backbone="squeezenet", version="0.0", weights="random", parameters=tmp_path / "whole.pt")
    assert torch.equal(own(*pair), metric(*pair)) and torch.equal(whole(*pair), metric(*pair))
    assert "UNTRAINED" not in repr(whole) and "heads.pt" in repr(own)


def test_random_weights_are_said_and_what_cannot_be_answered_is_refused():
    for options in ({"weights": "random"}, {"parameters": "random"}):
        assert "UNTRAINED" in repr(LPIPS(backbone="squeezenet", **options))
    assert "UNTRAINED" not in repr(LPIPS(backbone="squeezenet"))
    assert "all weights 1" in repr(LPIPS(backbone="squeezenet", heads=False))
    for options in ({"backbone": "alex"}, {"version": "1.0"}):
        with pytest.raises(ValueError, match="alexnet, squeezenet, vgg16.*0.0, 0.1"):
            LPIPS(**options)
    with pytest.raises(ValueError, match="heads=False"):
        LPIPS(heads=False, parameters="random")
    for backbone, facts in BACKBONES.items():
        metric, side = LPIPS(backbone=backbone, weights="random"), facts.minimum_side
        assert metric(*random_pair(1, side, side)).isfinite().all()
        with pytest.raises(ValueError, match=f"sides of {side} pixels"):
            metric(*random_pair(1, side - 1, 64))
        with pytest.raises(ValueError, match="large enough"):
            metric.network(random_pair(1, side - 1, 64)[0])


def test_the_judge_has_the_papers_size_and_the_codes_inputs():
    torch.manual_seed(0)
    judge = PreferenceJudge()
    assert sum(parameter.numel() for parameter in judge.parameters()) == 1281
    d0, d1, h = torch.tensor([0.3, 0.0]), torch.tensor([0.5, 0.2]), torch.tensor([0.25, 1.0])
    inputs = torch.tensor([[0.3, 0.5, -0.2, 0.3 / 0.6, 0.5 / 0.4], [0.0, 0.2, -0.2, 0.0, 2.0]])
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight, layer.bias) for layer in judge.layers[::2])
    x = inputs
    for w, b in ((w1, b1), (w2, b2)):
        x = x @ w.T + b
        x = torch.where(x > 0, x, 0.2 * x)
    share = 1 / (1 + torch.exp(-(x @ w3.T + b3)[:, 0]))
    torch.testing.assert_close(judge(d0, d1), share)
    torch.testing.assert_close(judge.loss(d0, d1, h), -(h * share.log() + (1 - h) * (1 - share).log()).mean())


def test_the_judge_learns_a_psychometric_function():
    torch.manual_seed(0)
    judge, (d0, d1) = PreferenceJudge(), torch.rand(2, 512)
    h = torch.sigmoid(6 * (d0 - d1))  # the larger d0, the more people prefer x1
    optimiser = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        judge.loss(d0, d1, h).backward()
        optimiser.step()
    grid = torch.linspace(0.2, 0.8, 7)
    assert (judge(grid, torch.full((7,), 0.5)) - torch.sigmoid(6 * (grid - 0.5))).abs().max() < 0.05


def test_two_afc_score():
    d0, d1 = torch.tensor([0.3, 0.5, 0.4]), torch.tensor([0.5, 0.3, 0.4])
    torch.testing.assert_close(two_afc_score(d0, d1, torch.tensor([0.8, 0.8, 0.8])), torch.tensor([0.2, 0.8, 0.5]))


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=1, max_size=20))
def test_no_distance_agrees_more_than_the_majority(triplets):
    d0, d1, h = torch.tensor(triplets, dtype=torch.float64).T
    score = two_afc_score(d0, d1, h)
    assert (score <= torch.maximum(h, 1 - h)).all() and (score >= torch.minimum(h, 1 - h)).all()
    torch.testing.assert_close(two_afc_score(d1, d0, 1 - h), score)  # the order of the two images means nothing


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_step_changes_what_the_variant_says_and_its_state_loads(variant, tmp_path):
    torch.manual_seed(0)
    system = TwoAFC(LPIPS(backbone="squeezenet"))
    system.metric.set_trainable(variant)
    before = {key: value.clone() for key, value in system.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in system.parameters() if p.requires_grad], 1e-3)
    first, second, reference = torch.rand(3, 4, 2, 3, 64, 64)
    system.train().loss(first, second, reference, torch.tensor([0.0, 1, 0.5, 0.2])).backward()
    optimiser.step()
    system.project()
    changed = {key.split(".")[1] for key, value in system.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"layers", "heads"} | ({"network"} if variant != "heads" else set())
    assert all((head >= 0).all() for head in system.metric.heads.values())
    torch.save(system.state_dict(), tmp_path / "weights.pt")
    again = LPIPS(backbone="squeezenet", weights="random", parameters=tmp_path / "weights.pt")
    torch.testing.assert_close(again(first[:, 0], reference[:, 0]), system.eval()(first[:, 0], reference[:, 0]))


def test_the_loss_is_smaller_when_the_judge_is_right_about_the_first():
    system = TwoAFC(LPIPS(backbone="squeezenet"))
    system.judge.logit = lambda d0, d1: 50 * (d0 - d1)
    reference = torch.rand(1, 1, 3, 64, 64)
    near, far = (reference + s * torch.rand(1, 1, 3, 64, 64).sub(0.5) for s in (0.02, 0.5))
    losses = [system.loss(near, far, reference, torch.tensor([share])).item() for share in (1.0, 0.5, 0.0)]
    assert losses[0] < losses[1] < losses[2]
