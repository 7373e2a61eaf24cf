"""The opinions that ship with the package are those of their sources, and give the numbers known for them."""

import os
from pathlib import Path

import numpy as np
import pytest

from iqa_lab.embedded.human_opinions import N_SCRAMBLED, sample_ratings, toyama
from iqa_lab.evaluation.krasula import rated_pairs, roc_analysis, score_differences
from iqa_lab.subjective.screening import screen_counts, screen_vqeg

needs_data = pytest.mark.skipif("IQA_LAB_DATA" not in os.environ, reason="needs the sources of the files: set IQA_LAB_DATA")


def test_krasula_analysis_of_toyama_gives_the_areas_that_came_with_the_data():
    table = toyama()
    pairs = rated_pairs(table["mos"], table["mos_std"], table["n_ratings"])
    found = roc_analysis(score_differences(table[["psnr", "ssim"]].to_numpy().T, pairs), pairs.outcome)
    np.testing.assert_allclose(found.auc_ds, (0.59542178, 0.70676234), atol=5e-9)
    np.testing.assert_allclose(found.auc_bw, (0.85110783, 0.96279812), atol=5e-9)
    np.testing.assert_allclose(found.cc_0, (0.76297096, 0.90693283), atol=5e-9)
    assert (found.n_different, found.n_similar) == (11121, 2907)


def test_only_correlation_finds_all_scrambled_subjects():
    ratings = sample_ratings()
    assert ratings.shape == (26, 79) and np.isnan(ratings).sum() == 1 and set(np.unique(ratings[ratings > 0])) == {1, 2, 3, 4, 5}
    assert list(np.flatnonzero(screen_vqeg(ratings).rejected)) == list(range(N_SCRAMBLED))
    assert list(np.flatnonzero(screen_counts(ratings, ddof=0).rejected)) == [0, 1]
    assert list(np.flatnonzero(screen_counts(ratings).rejected)) == [1]


@needs_data
def test_the_files_are_those_of_their_sources():
    from scipy.io import loadmat

    scores = Path(os.environ["IQA_LAB_DATA"]) / "scores"
    source = loadmat(scores / "krasula_toyama" / "Example_Toyama.mat")
    for column, name in (("mos", "MOS"), ("mos_std", "SD"), ("n_ratings", "num_obs"), ("psnr", "psnr"), ("ssim", "ssim")):
        np.testing.assert_array_equal(toyama()[column], source[name].ravel())
    np.testing.assert_array_equal(sample_ratings(), np.genfromtxt(scores / "sureal_raw" / "bt500_sample_data.csv",
                                                                  delimiter=",").T)
