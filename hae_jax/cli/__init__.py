"""The command line, `hae`: reads options, calls the library, writes what comes back."""

from hae_jax.cli.main import main as main
