"""A fitted estimator on disk, as JSON and .npz; loading one never executes code."""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree


@dataclass(frozen=True)
class Archive:
    """The content of a folder.

    Attributes:
        config: the config as JSON text.
        facts: other settings and results, as JSON values.
        arrays: results that are arrays.
        params: the model's parameters.
    """

    config: str
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    params: PyTree

    def write(self, folder: Path) -> None:
        """Writes the folder, overwriting an earlier archive."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(self.config, encoding="utf-8")
        (folder / "facts.json").write_text(json.dumps(self.facts, indent=2) + "\n", encoding="utf-8")
        np.savez(folder / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
        np.savez(folder / "params.npz", **flatten_dict(self.params, sep="/"))

    @classmethod
    def read(cls, folder: Path) -> "Archive":
        """Reads a folder that `write` wrote; zip files detect damage by themselves.

        Raises:
            ValueError: if a part is missing or damaged.
        """
        try:
            texts = [(folder / name).read_text(encoding="utf-8") for name in ("config.json", "facts.json")]
            arrays, params = (_arrays(folder / name) for name in ("arrays.npz", "params.npz"))
            return cls(texts[0], json.loads(texts[1]), arrays, unflatten_dict(params, sep="/"))
        except (OSError, ValueError, BadZipFile, EOFError) as error:
            if isinstance(error, FileNotFoundError):
                repair = "Save one there, or train one: hae train --preset series."
                raise ValueError(f"folder must hold a saved estimator, got none in {folder}. {repair}") from None
            raise ValueError(f"folder must hold a saved estimator, got {folder}: {error}. Save it again.") from None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    # NumPy leaves an incomplete archive open.
    with path.open("rb") as stream, np.load(stream) as arrays:
        return dict(arrays)


def refuse(name: str) -> NoReturn:
    """Raises the error of an attempt to pickle a fitted estimator.

    Loading a pickle executes code, and fails after updates of libraries.
    """
    raise pickle.PicklingError(f"a fitted {name} must be saved by its method save, got pickle. Use save and load.")
