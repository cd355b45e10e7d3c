"""`python -m hae_jax` is `hae`."""

import sys

from hae_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
