"""A public report of a model that does not train: what was seen, the accepted cause, and both models, rebuilt small."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HEALTHY = "healthy"
"""Cause of a report whose accepted answer is that nothing is wrong."""


@dataclass(frozen=True)
class Case:
    """A report, rebuilt in our own words and code.

    Attributes:
        name: repository and number of the thread.
        kind: what the model is: a "language model", "seq2seq", "autoencoder", "VAE", "forecaster", "classifier" or
            "regressor".
        cause: slug of the accepted cause; `HEALTHY` if nothing is wrong.
        seen: what the users observed.
        build: returns the setup, given whether it has the fault; without it, the accepted answer is applied.
        goal: the healthy model's loss is below this number within 300 steps.
        pull: whether the thread is a pull request.
        held_out: whether it is kept for the last test, and was not examined while rules were written.
    """

    name: str
    kind: str
    cause: str
    seen: str
    build: Callable[[bool], dict[str, Any]]
    goal: float
    pull: bool = False
    held_out: bool = False

    @property
    def url(self) -> str:
        """Returns the address of the thread."""
        repository, number = self.name.split("#")
        return f"https://github.com/{repository}/{'pull' if self.pull else 'issues'}/{number}"

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Builds the setups by role: the one of the report, and its healthy twin if it has a fault."""
        if self.cause == HEALTHY:
            return {"report": self.build(False)}
        return {"report": self.build(True), "twin": self.build(False)}
