"""One definition of "the same numbers"."""

import jax
import numpy as np

DIGITS = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}
"""Tolerance, relative and absolute, by the coarser of the two types that are compared."""
LOOSER = {"cpu": 1, "gpu": 20, "tpu": 200}
"""Accelerators multiply float32 matrices with fewer bits."""


def assert_close(actual, expected, slack: float = 1.0) -> None:
    """Fails unless both trees have the same structure, shapes and, up to rounding, numbers.

    Args:
        actual: tree of arrays.
        expected: tree of arrays; NumPy's float64 where it comes from the oracle.
        slack: multiplies the tolerance, for sums of many terms.
    """
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, left), right in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        coarsest = max((DIGITS.get(str(getattr(x, "dtype", "float64")), 0.0) for x in (left, right)), default=0.0)
        tolerance = coarsest * LOOSER[jax.default_backend()] * slack
        left, right = (np.asarray(x) if np.asarray(x).dtype.kind in "biu" else np.asarray(x, np.float64)
                       for x in (left, right))  # fmt: skip
        assert left.shape == right.shape, f"{jax.tree_util.keystr(path)}: {left.shape} is not {right.shape}"
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance, err_msg=jax.tree_util.keystr(path))
