"""The public names of the package: a written list, documented with examples, and imported without JAX."""

import doctest
import inspect
import re
import subprocess
import sys

import pytest

import hae_jax

NAMES = {
    "BeamSearch",
    "Config",
    "DataConfig",
    "Greedy",
    "ModelConfig",
    "OptimConfig",
    "Refined",
    "Sampling",
    "TrainConfig",
    "TrainedModel",
    "TrainingSetup",
    "examine",
    "load",
    "preset",
    "repair",
    "train",
}
"""A name that is added or removed here is a change of the interface, and belongs in the changelog."""
METHODS = {"decode", "embed_sentences", "encode", "evaluate", "interpolate", "load", "log_likelihood", "reconstruct"}
"""Those of a trained model."""
every_name = pytest.mark.parametrize("name", sorted(NAMES))


def public_methods(kind):
    return {
        name: function
        for name, function in inspect.getmembers(kind, inspect.isroutine)
        if name[0] != "_" and name in vars(kind)
    }


def examples(value):
    """The examples in a docstring that run; doctests of the package are collected with the tests."""
    found = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
    return [example for example in found if doctest.SKIP not in example.options]


def test_the_public_names_are_those_of_the_list():
    assert set(hae_jax.__all__) == NAMES
    assert set(dir(hae_jax)) == NAMES | {"__version__"}
    assert set(public_methods(hae_jax.TrainedModel)) == METHODS


@every_name
def test_every_name_is_documented_with_an_example(name):
    value = getattr(hae_jax, name)
    assert inspect.getdoc(value)[0].isupper()
    assert examples(value), f"{name} must have an example that runs"
    assert value.__module__.startswith("hae_jax.")


@every_name
def test_every_method_and_argument_is_documented(name):
    value = getattr(hae_jax, name)
    functions = {name: value} if not inspect.isclass(value) else public_methods(value)
    for function in functions.values():
        text = inspect.getdoc(function)
        assert text, function
        parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        if len(parameters) > 1:
            assert "Args:" in text, function
        if "Args:" in text:
            assert [p for p in parameters if not re.search(rf"^    {p}: ", text, re.MULTILINE)] == []


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_of_a_trained_model_have_examples_and_errors(name):
    text = inspect.getdoc(getattr(hae_jax.TrainedModel, name))
    assert "Raises:\n    ValueError: " in text
    assert examples(getattr(hae_jax.TrainedModel, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hae_jax' has no attribute 'laod'"):
        hae_jax.laod  # noqa: B018


def test_importing_the_package_imports_nothing_else():
    code = "import sys, hae_jax; hae_jax.__version__; dir(hae_jax); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = ended.stdout.split()
    assert "hae_jax" in modules
    assert not [name for name in modules if name.startswith("hae_jax.")]
    assert not {"jax", "numpy", "flax", "optax", "rich"} & set(modules)


def test_configs_are_used_without_jax():
    code = "import sys, hae_jax; hae_jax.Config(hae_jax.ModelConfig()); hae_jax.preset('tiny'); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "jax" not in ended.stdout.split()
