"""Commands that must succeed, and commands that must fail with an error of one line."""

import json
import re

import pytest

from hae_jax.cli import main

FORM = re.compile(r"hae: .+ must .+, got .+\. .+\.\n|hae: .+ must .+, got .+\?\n|hae: .+ must .+: hae train .+\n")


def run(capsys, words):
    """Runs a command; returns its exit code, and what it wrote."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


@pytest.fixture
def hae(capsys):
    """Runs a command that must succeed; returns its standard output."""

    def succeed(*words):
        code, written = run(capsys, words)
        assert code == 0, written.err
        return written.out

    return succeed


@pytest.fixture
def error_of(capsys):
    """Runs a command that must fail with exit code 2; returns its error."""

    def fail(*words):
        code, written = run(capsys, words)
        assert code == 2
        assert written.err.count("\n") == 1, written.err
        assert FORM.fullmatch(written.err), written.err
        return written.err

    return fail


def rows(text):
    return [json.loads(line) for line in text.splitlines()]
