"""Measures what a score costs: processor time of one thread for a photo of 512 x 384, and how many numbers were learned.

``python -m iqa_lab.data_scripts.scoring_cost``, run in the folder of the project, writes results/scoring_cost.csv: the
smallest of five measurements. Networks have the sizes of their recipe "fast" and are untrained; of feature-based systems the
features are measured, beside which the regressor takes no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

import pandas as pd
import torch
from torch import nn

from iqa_lab import create_metric, load_database
from iqa_lab.data_scripts.network_runs import NETWORKS
from iqa_lab.data_scripts.no_reference_splits import FIXED, RANKED, REGRESSED
from iqa_lab.data_scripts.result_rows import RESULTS
from iqa_lab.data_scripts.stress_tests import DEFAULT
from iqa_lab.images import load_image
from iqa_lab.training.networks import new_network
from iqa_lab.training.recipes import find_recipe

PHOTOGRAPH, HEIGHT, WIDTH, REPEATS = "references/astronaut.png", 384, 512, 5


def scoring_function(name: str) -> tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """Returns a system as the tables have it, and what it does with an image."""
    if name in NETWORKS:
        network = new_network(name, find_recipe(name, "fast")).eval()
        return network, network
    if name in REGRESSED:
        metric = create_metric(name, parameters="untrained")
        return metric, metric.features
    metric = create_metric(name, **({"parameters": "random"} if name in RANKED else {}))
    return metric, metric


@torch.no_grad()
def main() -> None:
    """Measures all systems and writes the table."""
    torch.set_num_threads(1)
    image, rows = load_image(load_database("embedded").root / PHOTOGRAPH)[..., :HEIGHT, :WIDTH].contiguous(), []
    for name in (*FIXED, DEFAULT, *REGRESSED, *NETWORKS):
        system, call = scoring_function(name)
        seconds = []
        for _ in range(REPEATS + 1):
            started = time.process_time()
            call(image)
            seconds.append(time.process_time() - started)
        numbers = sum(parameter.numel() for parameter in system.parameters())
        rows.append({"system": name, "cpu_milliseconds": 1000 * min(seconds[1:]), "parameters": numbers})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).assign(torch=torch.__version__, device="cpu, one thread", date=date.today().isoformat())
    table.to_csv(RESULTS / "scoring_cost.csv", index=False, float_format="%.3g")


if __name__ == "__main__":
    main()
