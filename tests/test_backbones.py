"""Named feature maps: equal to torchvision's own forward pass, official outputs, strict loading, honest random weights."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from torchvision import models

from iqa_lab import load_image
from iqa_lab.backbones.features import FeatureExtractor
from iqa_lab.backbones.networks import BACKBONES, layer_names
from iqa_lab.backbones.weights import local_weights
from iqa_lab.ops.resize import resize

TORCHVISION = {"alexnet": models.alexnet, "vgg16": models.vgg16, "squeezenet": models.squeezenet1_1,
               "resnet50": models.resnet50, "mobilenet": models.mobilenet_v2}
PHOTOS = Path(skimage.__file__).parent / "data"
#: (layer, the same map in torchvision's network as a function of it and its input)
SAME_MAPS = {
    "alexnet": {"relu1": lambda net, x: net.features[:2](x), "pool5": lambda net, x: net.features(x)},
    "vgg16": {"relu2_2": lambda net, x: net.features[:9](x), "relu5_3": lambda net, x: net.features[:30](x)},
    "squeezenet": {"fire3": lambda net, x: net.features[:5](x), "fire9": lambda net, x: net.features(x)},
    "resnet50": {"layer1": lambda net, x: net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))},
    "mobilenet": {"block3": lambda net, x: net.features[:4](x), "head": lambda net, x: net.features(x)},
}


def photo(name: str, side: int = 224) -> torch.Tensor:
    image = load_image(PHOTOS / name)
    scale = side / min(image.shape[2:])
    image = resize(image, size=(round(image.shape[2] * scale), round(image.shape[3] * scale))).clamp(0, 1)
    top, left = ((length - side) // 2 for length in image.shape[2:])
    return image[:, :, top:top + side, left:left + side]


def normalised(image: torch.Tensor) -> torch.Tensor:
    return (image - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.mark.parametrize("backbone", TORCHVISION)
def test_maps_and_output_are_those_of_torchvision(backbone, tmp_path):
    torch.manual_seed(0)
    network = TORCHVISION[backbone](weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "official.pth")
    image = torch.rand(2, 3, 96, 128)
    last = layer_names(backbone)[-1]
    found = FeatureExtractor(backbone, [*SAME_MAPS[backbone], last], weights=tmp_path / "official.pth")(image)
    with torch.no_grad():
        expected = {layer: take(network, normalised(image)) for layer, take in SAME_MAPS[backbone].items()}
        expected[last] = network(normalised(image))
    for layer, maps in expected.items():
        torch.testing.assert_close(found[layer], maps, rtol=1e-4, atol=1e-5, msg=layer)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_map_does_not_depend_on_which_others_are_wanted(backbone):
    torch.manual_seed(0)
    names, image = layer_names(backbone), torch.rand(1, 3, 64, 64)
    names = [name for name in names if name not in ("flatten", "fc6", "relu6", "fc7", "relu7", "fc8")]
    whole = FeatureExtractor(backbone, names, weights="random")
    together = whole(image)
    for name in names:
        alone = FeatureExtractor(backbone, [name], weights="random")
        alone.load_state_dict({key: value for key, value in whole.state_dict().items() if key in alone.state_dict()})
        torch.testing.assert_close(alone(image)[name], together[name])


@pytest.mark.parametrize("name, expected", [("chelsea.png", 285), ("coffee.png", 967)], ids=["Egyptian cat", "espresso"])
def test_the_installed_network_recognises_what_is_on_the_photo(name, expected):
    network = FeatureExtractor("efficientnet_lite0", ["fc"])
    assert network(photo(name))["fc"].argmax().item() == expected


@pytest.mark.parametrize("case", range(3))
def test_mobilenet_gives_its_published_outputs(case, real_weights):
    folder = real_weights / "mobilenet_v2_torchvision" / "test_data_set" / str(case)
    network = FeatureExtractor("mobilenet", ["fc"])
    inputs, expected = (torch.from_numpy(np.load(folder / name)) for name in ("input_0.npy", "output_0.npy"))
    logits = network(inputs.view(1, 3, 224, 224) * network.std + network.mean)["fc"].flatten()
    assert (logits - expected.flatten()).abs().max() < 0.14  # its classifier was rounded to 8 bits by others
    assert np.corrcoef(logits, expected.flatten())[0, 1] > 0.9999


def test_parts_of_a_network_are_found_by_what_is_asked(real_weights):
    part, whole = FeatureExtractor("vgg16", ["relu1_2", "relu2_2"]), real_weights / "vgg16_conv1_conv2_torchvision"
    bias = part.state_dict()["network.conv1_1.bias"]
    assert part.backbone == "vgg16" and whole.is_dir()
    torch.testing.assert_close(bias[:3], torch.tensor([0.4034, 0.3778, 0.4644]), rtol=0, atol=1e-4)  # its SOURCE.md


@pytest.fixture
def real_weights() -> Path:
    path = local_weights("vgg16_blocks_1_and_2")
    if path is None:
        pytest.skip("needs the folder of official weights, IQA_LAB_DATA or IQA_LAB_WEIGHTS")
    return path.parent.parent


def test_weights_that_are_nowhere_are_explained(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise ConnectionError("no network here")

    monkeypatch.setattr("iqa_lab.downloads.download", offline)
    monkeypatch.delenv("IQA_LAB_DATA", raising=False)
    monkeypatch.setenv("IQA_LAB_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("IQA_LAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af.pth \(553.43 MB, torchvision.*IQA_LAB_WEIGHTS.*no network here"):
        FeatureExtractor("vgg16", ["relu5_3"])


def test_strange_tensors_are_named(tmp_path):
    state = models.squeezenet1_1(weights=None).state_dict()
    state["features.99.weight"] = state.pop("features.3.squeeze.bias")
    torch.save(state, tmp_path / "strange.pth")
    with pytest.raises(ValueError, match="missing: fire2.squeeze.bias; unexpected: features.99.weight"):
        FeatureExtractor("squeezenet", ["fire3"], weights=tmp_path / "strange.pth")
    state["features.3.squeeze.bias"] = state.pop("features.99.weight")[:3]
    torch.save(state, tmp_path / "strange.pth")
    with pytest.raises(ValueError, match=r"fire2.squeeze.bias \(3,\) instead of \(16,\)"):
        FeatureExtractor("squeezenet", ["fire3"], weights=tmp_path / "strange.pth")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"PK\x03\x04broken"])
def test_damaged_files_are_refused(content, tmp_path):
    (tmp_path / "damaged.pth").write_bytes(content)
    with pytest.raises(ValueError, match="get it again"):
        FeatureExtractor("squeezenet", ["fire3"], weights=tmp_path / "damaged.pth")


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save(models.squeezenet1_1(weights=None), tmp_path / "module.pth")  # a pickled object, not a state
    with pytest.raises(ValueError, match="weights_only=True"):
        FeatureExtractor("squeezenet", ["fire3"], weights=tmp_path / "module.pth")


def test_random_weights_are_said_and_seeded():
    torch.manual_seed(1)
    first = FeatureExtractor("squeezenet", ["fire3"], weights="random")
    torch.manual_seed(1)
    second = FeatureExtractor("squeezenet", ["fire3"], weights="random")
    assert "UNTRAINED" in repr(first) and "UNTRAINED" not in repr(FeatureExtractor("squeezenet", ["fire3"]))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    maps = FeatureExtractor("vgg16", ["relu5_3"], weights="random")(torch.rand(1, 3, 64, 64))["relu5_3"]
    assert 0.1 < maps.std() < 10  # neither faded nor grown through thirteen layers


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(ValueError, match="Expected a backbone"):
        FeatureExtractor("vgg", ["relu1_2"])
    with pytest.raises(ValueError, match="got relu1_3"):
        FeatureExtractor("vgg16", ["relu1_3"], weights="random")
    with pytest.raises(ValueError, match="got none"):
        FeatureExtractor("vgg16", [], weights="random")
    with pytest.raises(ValueError, match="large enough for pool5"):
        FeatureExtractor("alexnet", ["pool5"], weights="random")(torch.rand(1, 3, 40, 40))


def test_the_network_is_frozen_and_the_image_is_not():
    network = FeatureExtractor("efficientnet_lite0", ["block3"]).train()
    image = torch.rand(1, 1, 64, 64, requires_grad=True)
    network(image)["block3"].sum().backward()
    assert not network.training and image.grad.abs().sum() > 0 and all(p.grad is None for p in network.parameters())


def test_gray_is_the_same_as_three_equal_channels():
    network, gray = FeatureExtractor("squeezenet", ["fire9"]), torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(network(gray)["fire9"], network(gray.expand(-1, 3, -1, -1))["fire9"])


def test_other_pooling_takes_the_place_of_every_max_pooling():
    seen = []

    def pooling(channels: int) -> torch.nn.Module:
        seen.append(channels)
        return torch.nn.AvgPool2d(2)

    FeatureExtractor("vgg16", ["relu5_3"], weights="random", pooling=pooling)
    assert seen == [64, 128, 256, 512]
    seen.clear()
    FeatureExtractor("squeezenet", ["fire9"], weights="random", pooling=pooling)
    assert seen == [64, 128, 256]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpu_maps(monkeypatch):
    network, image = FeatureExtractor("squeezenet", ["fire9"]), torch.rand(2, 3, 96, 96)
    expected = network(image)["fire9"]
    monkeypatch.setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee")  # convolutions see 10 bits of a float32 else
    maps = network.cuda()(image.cuda())["fire9"].cpu()
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3)
