"""Real opinions of people that ship with the package, for chapters and tests; sources and notices: opinions/SOURCE.md."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iqa_lab.embedded import SHIPPED

N_SCRAMBLED = 5  # subjects of the sample whose votes are scrambled on purpose; they come first


def sample_ratings() -> np.ndarray:
    """Returns grades 1 to 5 of 26 subjects for 79 stimuli, shape (26, 79), NaN where a vote is missing.

    The sample data of SUREAL's demonstration of ITU-R BT.500; the first five subjects are scrambled.
    """
    return pd.read_csv(SHIPPED / "opinions" / "bt500_sample.csv", header=None).to_numpy(float).T


def toyama() -> pd.DataFrame:
    """Returns ``mos, mos_std, n_ratings, psnr, ssim`` of 168 images of the Toyama database (no images).

    Krasula's example data: MOS 1 to 5 of 16 ratings each, PSNR and SSIM as he computed them.
    """
    return pd.read_csv(SHIPPED / "opinions" / "toyama.csv")
