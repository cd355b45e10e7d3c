"""Scripts of users as input of `hae doctor`: what they may return, and what their errors look like."""

import json
import re
import sys
import textwrap

import pytest

from hae_jax.cli import main
from hae_jax.cli.script import script_setup

SCRIPT = '''
    """Gradient descent on a parabola."""
    import sys
    from typing import NamedTuple

    import numpy as np
    import optax

    from neighbour import LOSS, START

    print("importing")


    def setup():
        print("calling")
        return dict(loss=LOSS, params=START, batches=[np.full((4, 2), 3.0, np.float32)], optimizer=optax.sgd(0.1))


    def several():
        return setup(), "x", "y"


    class Named(NamedTuple):
        loss: object
        params: object
        batches: object


    def named():
        return Named(LOSS, START, [])


    def arguments():
        return sys.argv[1:]


    def with_argument(path):
        return setup()


    def nothing():
        pass


    def broken():
        a = 1
        return a / 0


    def deep():
        from neighbour import fail

        return fail({})


    def missing_package():
        import no_such_package


    def leaves():
        raise SystemExit("usage: train.py")


    VALUE = 3
    if __name__ == "__main__":
        raise RuntimeError("run as a program")
'''
NEIGHBOUR = """
    import jax.numpy as jnp

    START = jnp.ones(2)


    def LOSS(params, batch):
        return jnp.mean((batch - params) ** 2)


    def fail(table):
        return table["key"]
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    (tmp_path / "neighbour.py").write_text(textwrap.dedent(NEIGHBOUR), encoding="utf-8")
    yield tmp_path / "train.py"
    for name in ("train", "neighbour", f"train of {tmp_path}"):
        sys.modules.pop(name, None)


def line_of(path, text):
    return path.read_text(encoding="utf-8").splitlines().index(text) + 1


def test_a_function_of_the_script_is_called_with_its_folder_on_the_path(script, capsys):
    path, argv = list(sys.path), sys.argv
    with script_setup(f"{script}:setup") as given:
        assert [set(each) for each in given] == [{"loss", "params", "batches", "optimizer"}]
        assert sys.path[0] == str(script.parent)
    assert (sys.path, sys.argv) == (path, argv)
    written = capsys.readouterr()
    assert written.out == "", "standard output is for the report"
    assert written.err == "importing\ncalling\n"


def test_a_tuple_is_several_arguments_but_a_named_tuple_is_one(script):
    with script_setup(f"{script}:several") as given:
        assert given[1:] == ("x", "y")
    with script_setup(f"{script}:named") as given:
        assert given[0].batches == []


def test_options_of_this_program_are_not_the_scripts(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hae", "doctor", "--json"])
    with script_setup(f"{script}:arguments") as given:
        assert given == ([],)


@pytest.mark.parametrize(
    ("function", "message", "line"),
    [
        ("broken", "ZeroDivisionError: division by zero", "    return a / 0"),
        ("missing_package", "ModuleNotFoundError: No module named 'no_such_package'", "    import no_such_package"),
        ("leaves", "SystemExit: usage: train.py", '    raise SystemExit("usage: train.py")'),
        ("with_argument", "missing 1 required positional argument: 'path'", "def with_argument(path):"),
    ],
)
def test_an_error_names_file_and_line_of_the_users_code(script, capsys, function, message, line):
    assert main(["doctor", "--script", f"{script}:{function}"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert f"train.py, line {line_of(script, line)})" in error
    assert error.startswith("hae: script must run without errors, got ")


def test_the_innermost_line_of_the_users_code_is_named(script, capsys):
    assert main(["doctor", "--script", f"{script}:deep"]) == 2
    assert re.search(r"KeyError: 'key' \(.*neighbour\.py, line 12\)", capsys.readouterr().err)


def test_a_syntax_error_names_its_line(script, capsys):
    script.write_text("a = 1\nb = (\n", encoding="utf-8")
    assert main(["doctor", "--script", f"{script}:setup"]) == 2
    assert re.search(r"SyntaxError: '\(' was never closed \(.*train\.py, line 2\)", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("train.py", "script must be FILE:FUNCTION, got"),
        ("train.py:", "script must be FILE:FUNCTION, got"),
        ("never.py:setup", "script must be a file of Python code, got"),
        ("train.py:setpu", "Did you mean 'setup'?"),
        ("train.py:VALUE", "script must name a function, got the int VALUE"),
        ("train.py:nothing", "script must return a setup from nothing(), got None."),
    ],
)
def test_what_is_no_function_of_a_script_is_refused(script, capsys, monkeypatch, spec, message):
    monkeypatch.chdir(script.parent)
    assert main(["doctor", "--script", spec]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error


@pytest.mark.parametrize("option", [("--model.hidden_dim", "7"), ("--workdir", "runs/a"), ("--batches", "3")])
def test_options_without_effect_on_a_script_are_refused(script, capsys, option):
    assert main(["doctor", "--script", f"{script}:setup", *option]) == 2
    assert f"got {option[0]}." in capsys.readouterr().err


def test_a_name_that_is_taken_by_a_module_is_not_replaced(tmp_path):
    path = tmp_path / "json.py"
    path.write_text("def setup():\n    return [1]\n", encoding="utf-8")
    with script_setup(f"{path}:setup") as given:
        assert given == ([1],)
    assert sys.modules["json"] is json
    sys.modules.pop(f"json of {tmp_path}")
