"""dipIQ: RankNet's numbers, the authors' network and files, lists by all their orders, and a ranking that is learned."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.io import savemat

from iqa_lab.evaluation.waterloo import ImagePairs, discriminable_pairs
from iqa_lab.no_reference.brisque import brisque_features
from iqa_lab.no_reference.codebooks import load_codebook
from iqa_lab.no_reference.cornia import cornia_features
from iqa_lab.no_reference.dipiq import DipIQ, certainty, discriminable_lists
from iqa_lab.training.discriminable import train_ranking

SMALL = {"descriptor": "brisque", "hidden": (8, 4)}
ONE = torch.ones(1, dtype=torch.float64)


def network(**options) -> DipIQ:
    torch.manual_seed(0)
    return DipIQ(**{"parameters": "random"} | SMALL | options).double().eval()


def reader(value_at: int = 0) -> DipIQ:
    """Returns a network whose score is one of its features, as long as that is above -100."""
    model = network(hidden=(3,))
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.zero_()
            layer.bias.zero_()
        model.layers[0].weight[0, value_at] = model.layers[1].weight[0, 0] = 1
        model.layers[0].bias.fill_(100.0)
        model.layers[1].bias.fill_(-100.0)
    return model


def features(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 36, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def photos(n: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("lead, loss", [(0, 0.693147), (1, 0.313262), (-1, 1.313262)])
def test_the_numbers_of_the_specification(lead, loss):
    model, first, second = reader(), torch.zeros(1, 36, dtype=torch.float64), torch.zeros(1, 36, dtype=torch.float64)
    first[0, 0] = lead
    assert model.rank_loss(first, second, ONE).item() == pytest.approx(loss, abs=5e-7)
    assert model.rank_loss(first, second, ONE / 4).item() == pytest.approx(loss / 4, abs=5e-7)


def test_the_loss_is_a_weighted_mean_over_the_pairs():
    model, first, second = network(), features(5), features(5, seed=1)
    weights = torch.tensor([1.0, 0.5, 0.0, 0.25, 1.0])
    lead = (model.quality(first) - model.quality(second)).detach().numpy()
    expected = np.mean(weights.numpy() * np.log1p(np.exp(-lead)))
    assert model.rank_loss(first, second, weights).item() == pytest.approx(expected, rel=1e-10)
    shifted = network()
    with torch.no_grad():
        shifted.layers[-1].bias.add_(50)  # both scores move: only differences count
    assert shifted.rank_loss(first, second, weights).item() == pytest.approx(expected, rel=1e-9)


def test_certainty_rises_from_0_to_1_at_the_threshold():
    np.testing.assert_allclose(certainty([0, 5, 10, 20, 21, 100]), [0, (1 - 0.5**0.5) / 2, 0.5, 1, 1, 1], atol=1e-12)
    np.testing.assert_allclose(certainty([5, 10], threshold=10), [0.5, 1])
    assert (np.diff(certainty(np.linspace(0, 20, 50))) > 0).all()


def test_the_network_is_the_authors_formula():
    """f = max(0, f W + b) along the hidden layers, then f W + b, after (f - mu) / sd."""
    model, x = network(), features(6) * 3 + 1
    model.fit_scaling(x)
    f = (x.numpy() - x.numpy().mean(0)) / x.numpy().std(0, ddof=1)
    parts = [part.detach().numpy() for layer in model.layers for part in (layer.weight.T, layer.bias)]
    for weight, bias in zip(parts[:-2:2], parts[1:-2:2], strict=True):
        f = np.maximum(0, f @ weight + bias)
    np.testing.assert_allclose(model.quality(x).detach(), (f @ parts[-2] + parts[-1])[:, 0], rtol=1e-9)
    assert sum(parameter.numel() for parameter in network(hidden=(256, 128, 3)).parameters()) == \
        37 * 256 + 257 * 128 + 129 * 3 + 4


def test_a_constant_feature_is_only_shifted():
    model, x = network(), features(4)
    x[:, 3] = 7
    model.fit_scaling(x)
    assert model.mean[3] == 7 and model.deviation[3] == 1 and model.quality(x).isfinite().all()


@given(arrays(np.float64, (2, 4), elements=st.floats(-5, 5)))
def test_the_list_loss_adds_up_all_orders_of_a_list(targets):
    """To be first is the sum over all orders that begin so, each with its Plackett-Luce probability."""
    def first_place(values: np.ndarray) -> np.ndarray:
        shares = np.zeros(len(values))
        for order in permutations(range(len(values))):
            powers = np.exp(values[list(order)])
            shares[order[0]] += np.prod(powers / powers[::-1].cumsum()[::-1])
        return shares

    model, lists = network(), features(8).view(2, 4, 36)
    scores = model.quality(lists).detach().numpy()
    expected = np.mean([-(first_place(t) * np.log(first_place(s))).sum() for t, s in zip(targets, scores, strict=True)])
    assert model.list_loss(lists, torch.from_numpy(targets)).item() == pytest.approx(expected, rel=1e-8)


@given(arrays(np.float64, (3, 6), elements=st.floats(0, 100)), st.floats(0, 30),
       arrays(np.int64, (5, 3), elements=st.integers(0, 5)))
def test_lists_are_kept_where_all_models_see_every_step(quality, threshold, lists):
    expected = [row for row in lists.tolist() if all(q[a] - q[b] > threshold for q in quality for a, b in zip(row, row[1:]))]
    assert discriminable_lists(quality, lists, threshold=threshold).tolist() == expected


def test_features_are_those_of_the_systems_they_come_from():
    image = photos(2, 40, 48)
    assert torch.equal(network().features(image), brisque_features(image))
    model = DipIQ(parameters="random", hidden=(2,))
    assert torch.equal(model.features(image[:1]), cornia_features(image[:1], load_codebook("cornia_codebook")))
    assert model.mean.shape == (20_000,) and model.layers[0].in_features == 20_000


def ranking_task() -> tuple[np.ndarray, np.ndarray, ImagePairs]:
    """Returns features of 400 images, their true quality, and pairs of the first 300 by three noisy models of it."""
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (400, 36)) * np.linspace(0.5, 20, 36) + 3
    truth = 50 + 15 * np.tanh((x[:, 0] - 3) / 0.5) + 15 * (x[:, 5] - 3) / x[:, 5].std()
    models = truth + random.normal(0, 3, (3, 400))
    return x, truth, discriminable_pairs(models[:, :300], threshold=5, n_pairs=800)


def test_a_ranking_is_learned_without_opinions():
    x, truth, pairs = ranking_task()
    recipe = {"epochs": 8, "batch_size": 64, "learning_rate": 0.05}
    model = network().float()
    history = train_ranking(model, x, pairs, certainty(pairs.gap), **recipe)
    assert len(history) == 8 and history[-1] < 0.5 * history[0] and not model.training
    scores = model.quality(torch.from_numpy(x[300:])).detach().numpy()
    unseen = discriminable_pairs(truth[None, 300:], threshold=20, n_pairs=1000)
    assert np.mean(scores[unseen.better] > scores[unseen.worse]) > 0.85
    again = network().float()
    assert train_ranking(again, x, pairs, certainty(pairs.gap), **recipe) == history
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_lists_teach_the_same_order():
    x, truth, _ = ranking_task()
    lists = np.random.default_rng(1).integers(0, 300, (100, 5))
    model, data, targets = network().float(), torch.from_numpy(x), torch.from_numpy(truth[lists] / 10)
    model.fit_scaling(data[:300])
    optimiser, losses = torch.optim.Adam(model.parameters(), 0.02), []
    for _ in range(40):
        losses.append(model.list_loss(data[torch.from_numpy(lists)], targets))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
    assert np.corrcoef(model.quality(data[300:]).detach(), truth[300:])[0, 1] > 0.3


def official_files(folder: Path) -> tuple[Path, dict[str, np.ndarray], list[np.ndarray]]:
    """Writes files in the authors' layout, 6 codewords, hidden layers of 5 and 3; returns folder, scaling and network."""
    random = np.random.default_rng(0)
    arrays = {"trainMu": random.normal(2, 1, (1, 12)), "trainStd": random.uniform(0.5, 2, (1, 12))}
    values = [random.normal(0, 0.5, shape) for shape in ((12, 5), (5, 1), (5, 3), (3, 1), (3, 1), (1, 1))]
    entries = np.zeros((1, len(values)), dtype=[("value", object)])
    entries["value"][0] = values
    savemat(folder / "netPara.mat", {"netPara": entries})
    savemat(folder / "normalizationParaCORNIA.mat", arrays)
    savemat(folder / "CSIQ_codebook_BS7.mat", {"codebook0": random.normal(0, 1, (49, 6))})
    savemat(folder / "CSIQ_whitening_param.mat", {"M": np.zeros((1, 49)), "P": np.eye(49)})
    return folder, arrays, values


def from_files(folder: Path) -> DipIQ:
    return DipIQ.from_official(folder / "netPara.mat", scaling=folder / "normalizationParaCORNIA.mat",
                               codebook=folder / "CSIQ_codebook_BS7.mat").eval()


def test_the_authors_files_give_their_score(tmp_path):
    folder, scaling, values = official_files(tmp_path)
    model, image = from_files(folder), photos(2, 40, 40)
    assert "UNTRAINED" not in repr(model) and not model.untrained
    f = (model.features(image).numpy() - scaling["trainMu"]) / scaling["trainStd"]
    for i in range(0, len(values) - 2, 2):
        f = np.maximum(0, f @ values[i] + values[i + 1].T)
    np.testing.assert_allclose(model(image).detach(), (f @ values[-2] + values[-1].T)[:, 0], rtol=1e-4, atol=1e-5)


def test_files_that_do_not_fit_are_refused(tmp_path):
    folder, scaling, _ = official_files(tmp_path)
    savemat(folder / "normalizationParaCORNIA.mat", {name: array[:, :11] for name, array in scaling.items()})
    with pytest.raises(ValueError, match=r"mean \(11,\) instead of \(12,\)"):
        from_files(folder)
    model = network().float()
    torch.save({**model.state_dict(), "strange": ONE}, tmp_path / "strange.pt")
    with pytest.raises(ValueError, match="unexpected: strange"):
        DipIQ(parameters=tmp_path / "strange.pt", **SMALL)
    torch.save(model.state_dict(), tmp_path / "small.pt")
    with pytest.raises(ValueError, match="missing: layers.3.bias"):
        DipIQ(parameters=tmp_path / "small.pt", descriptor="brisque")


def test_a_file_needs_no_codebook(tmp_path):
    folder, _, _ = official_files(tmp_path)
    model, image = from_files(folder), photos(1, 30, 30)
    options = {"codebook": folder / "CSIQ_codebook_BS7.mat", "hidden": (5, 3)}
    state = model.state_dict()
    assert any(key.startswith("codebook.") for key in state)
    for name, kept in (("whole.pt", state), ("own.pt", {k: v for k, v in state.items() if not k.startswith("codebook.")})):
        torch.save(kept, tmp_path / name)
        assert torch.equal(DipIQ(parameters=tmp_path / name, **options).eval()(image), model(image))


def test_scores_do_not_depend_on_the_batch_and_can_be_rescaled():
    image, model = photos(3, 40, 48), network()
    together = model(image)
    torch.testing.assert_close(torch.cat([model(image[i:i + 1]) for i in range(3)]), together)
    model.rescale_output(5.0, -2.0)
    torch.testing.assert_close(model(image), 5 - 2 * together)


def test_gradcheck_of_the_loss():
    model, weights = network(), torch.tensor([1.0, 0.3], dtype=torch.float64)
    torch.manual_seed(0)
    inputs = features(2).requires_grad_(), features(2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda first, second: model.rank_loss(first, second, weights), inputs, fast_mode=True)


def test_what_cannot_be_answered_is_refused():
    with pytest.raises(FileNotFoundError, match="netPara.mat.*from_official"):
        DipIQ()
    with pytest.raises(ValueError, match="cornia or brisque"):
        DipIQ(parameters="random", descriptor="hosa")
    with pytest.raises(ValueError, match="14 pixels"):
        network()(photos(1, 13, 20))
    assert "UNTRAINED" in repr(network())
