"""Looks into fresh and trained models: how far gradients reach, what theory says they should do, and what ails them."""

from hae_jax.doctor.examine import examine
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.doctor.repair import repair
from hae_jax.doctor.report import Finding, Repair, Report

__all__ = ["Finding", "Repair", "Report", "TrainingSetup", "examine", "repair"]
