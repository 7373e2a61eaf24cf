"""Simulated experiments: which sampler needs fewer answers, when a target counts as reached, and what is refused."""

import numpy as np
import pytest
from scipy import stats

from iqa_lab.subjective.active_sampling import asap, asap_approximate, hybrid_mst, random_pairs, swiss
from iqa_lab.subjective.campaign import Campaign, simulate_campaign, trials_needed


def test_active_sampling_needs_fewer_answers_than_random_pairs():
    true = np.random.default_rng(0).uniform(0, 8, 14)
    campaigns = {sampler: simulate_campaign(true, sampler, n_trials=150, n_runs=30)
                 for sampler in (random_pairs, swiss, asap, asap_approximate)}
    final = {sampler: campaign.rmse[:, -1].mean() for sampler, campaign in campaigns.items()}
    assert max(final[asap], final[asap_approximate], final[swiss]) < final[random_pairs]
    t = stats.ttest_ind(campaigns[asap].rmse[:, -1], campaigns[random_pairs].rmse[:, -1], alternative="less")
    assert t.pvalue < 0.01
    needed = {sampler: trials_needed(campaign, rmse=0.9) for sampler, campaign in campaigns.items()}
    assert needed[asap] < needed[random_pairs]


def test_a_campaign_of_hybrid_mst_changes_to_trees():
    campaign = simulate_campaign([0, 1, 2, 3, 4], hybrid_mst, n_trials=20)
    assert campaign.trials.tolist() == [*range(1, 11), 14, 18, 22]  # 10 single pairs, then trees of 4
    assert (simulate_campaign([7, 8, 9, 10, 11], hybrid_mst, n_trials=20).rmse == campaign.rmse).all()


def test_a_target_is_reached_where_it_stays_reached():
    campaign = Campaign(np.array([5, 10, 15, 20]), np.array([[0.3, 0.9, 0.4, 0.2]]), np.array([[0.9, 0.8, 0.9, 0.95]]))
    assert trials_needed(campaign, rmse=0.5) == 15 and trials_needed(campaign, rmse=1) == 5
    assert trials_needed(campaign, srocc=0.95) == 20 and np.isnan(trials_needed(campaign, rmse=0.1))


@pytest.mark.parametrize("call, message", [
    (lambda: simulate_campaign([1, 1, 1], asap, n_trials=9), "scores in JOD that differ"),
    (lambda: simulate_campaign([1, np.nan, 2], asap, n_trials=9), "finite scores"),
    (lambda: simulate_campaign([1, 2, 3], asap, n_trials=0), "at least 1 trial"),
], ids=["equal", "nan", "trials"])
def test_what_cannot_be_simulated_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
