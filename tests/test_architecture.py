"""The house rules that a reader relies upon: imports point one way, files are small and named after a noun."""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hae_jax"
ORDER = [
    "config",
    "batch",
    "doctor",
    "layers",
    "models",
    "gradients",
    "data",
    "inference",
    "training",
    "latent",
    "trained",
    "trainer",
    "diagnosis",
    "estimators",
    "plots",
    "cli",
    "__main__",
]
"""Each may import what stands to its left, and itself."""
FORBIDDEN = {
    "data": {"doctor", "layers", "models", "gradients"},
    "doctor": {"config", "batch"},
    "layers": {"doctor"},
    "models": {"doctor"},
    "gradients": {"data"},
    "inference": {"doctor", "gradients"},
}
"""Exceptions: `data` knows no models, and the doctor nothing of this package."""
DOCTOR_NEEDS = {"jax", "optax", "numpy", "rich"}
"""All that the doctor may import beside the standard library: it examines models of any JAX library."""
FRAMEWORKS = {"keras": {"keras"}, "torch": {"torch", "torchax"}, "nnx": {"flax"}, "equinox": {"equinox"}}
"""What the adapters of its folder `frameworks` may import, too, since only their models lead to them."""
BANNED = {"utils", "util", "helpers", "common", "base", "manager", "misc"}
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]
every_file = pytest.mark.parametrize("path", FILES, ids=FILE_NAMES)


def imports(source: str) -> set[str]:
    """Names, dots included, of all modules that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            found |= {f"{stem}.{alias.name}" for alias in node.names}
    return found


def offences(part: str, source: str) -> list[str]:
    """Imports of hae_jax that the file, which belongs to `part`, must not contain."""
    allowed = set(ORDER[: ORDER.index(part) + 1]) - FORBIDDEN.get(part, set()) | {"__version__"}
    ours = [name for name in imports(source) if name.split(".")[0] in ("hae_jax", "")]
    return [name for name in ours if name.startswith(".") or name.split(".")[1] not in allowed]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@every_file
def test_imports_point_one_way(path):
    if path != PACKAGE / "__init__.py":
        assert part_of(path) in ORDER, "a new part of the package must be given its place in ORDER"
        assert offences(part_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("layers", "from hae_jax.models import build"),
        ("layers", "def f():\n    import hae_jax.training.fit"),
        ("models", "from hae_jax import cli"),
        ("data", "from hae_jax.layers.losses import Loss"),
        ("config", "from . import batch"),
    ],
)
def test_a_backward_import_is_noticed(part, source):
    assert len(offences(part, source)) == 1


def test_a_forward_import_is_allowed():
    assert (
        offences("training", "from hae_jax.inference import generate\nimport jax\nfrom hae_jax.batch import PAD") == []
    )


@every_file
def test_private_parts_of_jax_stay_private(path):
    names = imports(path.read_text(encoding="utf-8"))
    assert not [name for name in names if name.startswith(("jax._src", "jax.core", "jaxlib"))]


@pytest.mark.parametrize("path", [f for f in FILES if part_of(f) == "doctor"], ids=lambda path: path.stem)
def test_the_doctor_is_closed(path):
    names = {name.split(".")[0] for name in imports(path.read_text(encoding="utf-8"))}
    framework = FRAMEWORKS.get(path.stem.split("_")[0], set()) if path.parent.name == "frameworks" else set()
    assert names - set(sys.stdlib_module_names) <= DOCTOR_NEEDS | framework | {"hae_jax"}
    assert not offences("doctor", path.read_text(encoding="utf-8"))


@every_file
def test_only_plots_import_matplotlib(path):
    names = imports(path.read_text(encoding="utf-8"))
    assert part_of(path) == "plots" or not [name for name in names if name.split(".")[0] == "matplotlib"]


@every_file
def test_annotations_are_evaluated_so_that_shapes_can_be_checked(path):
    assert "__future__.annotations" not in imports(path.read_text(encoding="utf-8"))


@every_file
def test_files_are_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@every_file
def test_files_are_named_after_what_they_hold(path):
    assert not BANNED & {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts}


@every_file
def test_no_user_meets_a_bare_assert(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@every_file
def test_modules_say_what_they_are_for(path):
    source = path.read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))


@pytest.mark.parametrize(
    ("topic", "path"),
    {
        "teacher forcing": "inference/teacher_forcing.py",
        "beam search": "inference/beam_search.py",
        "bucketing": "data/bucketing.py",
        "tokenizer": "data/tokenizer.py",
        "checkpoint": "training/checkpoint.py",
        "gradient clipping": "training/clipping.py",
        "monitor": "training/monitor.py",
        "mean-field theory": "gradients/mean_field.py",
        "anomaly score": "estimators/anomaly_score.py",
        "out-of-memory advice": "cli/out_of_memory.py",
        "LSTM cell": "layers/cell.py",
        "attention": "layers/attention.py",
    }.items(),
)
def test_a_reader_finds_each_topic_by_name(topic, path):
    assert (PACKAGE / path).is_file()
    assert set(re.findall(r"[a-z]+", path.rsplit("/", 1)[1].removesuffix(".py"))) <= set(
        re.findall(r"[a-z]+", topic.lower())
    )
