"""The command line, `hae`: parses options, calls the library, writes results."""

from hae_jax.cli.main import main as main
