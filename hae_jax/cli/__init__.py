"""The command line, `hae`: reads options, calls the library, writes what comes back."""

from hae_jax.cli.program import main as main
