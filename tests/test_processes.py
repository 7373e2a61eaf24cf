"""Several processes, mixed precision, compilation, and batches made ahead: the same training, in another way."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

from iqa_lab import create_metric, load_database
from iqa_lab.training import processes
from iqa_lab.training.epoch import made_ahead, number_format
from iqa_lab.training.loop import train
from iqa_lab.training.recipes import Recipe

TRAIN = ["-m", "iqa_lab.cli", "train", "deepqa", "--database", "live_gblur_mini", "--epochs", "1", "--output"]
RECIPE = Recipe(epochs=4, batch_size=5, learning_rate=0.01, patches_per_image=1, source="tests", samples="crops")


class Sharpness(nn.Module):
    """A convolution and how strongly its answers differ between the images."""

    patch_size = 32

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.filters, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 1)

    def forward(self, distorted, reference):
        strengths = [self.filters(image).abs().mean((2, 3)) for image in (distorted, reference)]
        return self.last(strengths[0] - strengths[1]).squeeze(1)

    def loss(self, distorted, reference, targets):
        return nn.functional.mse_loss(self(distorted.flatten(0, 1), reference.flatten(0, 1)), targets)

    def rescale_output(self, mean, scale):
        with torch.no_grad():
            self.last.weight.mul_(scale)
            self.last.bias.mul_(scale).add_(mean)


def weights_of(folder) -> torch.Tensor:
    return learned(torch.load(folder / "weights.pt", weights_only=True))


def learned(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns what the steps change, without the scale of the opinion scores."""
    return torch.cat([value.flatten() for name, value in state.items() if name not in ("gain", "offset")])


def test_two_processes_take_the_steps_of_one(tmp_path):
    """Batches of five: one process has three images, the other two, and the last batch leaves one for the first alone."""
    subprocess.run([sys.executable, *TRAIN, str(tmp_path / "one")], check=True, capture_output=True)
    two = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *TRAIN,
                          str(tmp_path / "two")], check=True, capture_output=True, text=True)
    assert two.stdout.count("best_epoch: ") == 1, "one of them reports"
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    torch.manual_seed(0)
    start = learned(create_metric("deepqa", parameters="random").state_dict())
    assert (one - two).norm() < 0.05 * (one - start).norm(), "sums in another order, no more"


def test_alone_a_process_has_the_whole_batch_and_keeps_its_gradients():
    parameter = nn.Parameter(torch.ones(2))
    parameter.sum().backward()
    processes.add_up_gradients([parameter])
    assert parameter.grad.tolist() == [1, 1]
    batch = (torch.zeros(5, 3), torch.zeros(5))
    assert processes.share(batch) == (batch, 1.0) and processes.rank() == 0
    assert processes.own_device("cuda") == "cuda"


def test_each_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert processes.own_device("cuda") == "cuda:3" and processes.own_device("cpu") == "cpu"


def test_mixed_precision_learns_and_is_written_down(tmp_path):
    train(Sharpness(), load_database("live_gblur_mini"), replace(RECIPE, precision="bfloat16"), tmp_path, progress=False)
    loss = pd.read_csv(tmp_path / "history.csv")["loss"]
    assert loss.iloc[-1] < loss.iloc[0]
    assert '"bfloat16"' in (tmp_path / "config.json").read_text()
    assert number_format("bfloat16", torch.device("cpu")).fast_dtype == torch.bfloat16
    with pytest.raises(ValueError, match="float32 or bfloat16, got 'float16'"):
        number_format("float16", torch.device("cpu"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_loss_gives_the_same_steps(tmp_path):
    for compiled in (False, True):
        train(Sharpness(), load_database("live_gblur_mini"), replace(RECIPE, compiled=compiled), tmp_path / str(compiled),
              progress=False)
    torch.testing.assert_close(weights_of(tmp_path / "True"), weights_of(tmp_path / "False"), rtol=1e-3, atol=1e-3)


def test_batches_come_in_their_order_and_a_fault_among_them_is_told():
    assert list(made_ahead((k,) for k in range(11))) == [(k,) for k in range(11)]
    assert list(made_ahead([])) == []

    def faulty():
        yield (1,)
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        list(made_ahead(faulty()))
