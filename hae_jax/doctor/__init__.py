"""Finds out why a JAX model does not train: causes with evidence, and repairs that are tested."""

from hae_jax.doctor.examine import examine
from hae_jax.doctor.inputs.setup import TrainingSetup
from hae_jax.doctor.repair import repair
from hae_jax.doctor.report import Finding, Repair, Report

__all__ = ["Finding", "Repair", "Report", "TrainingSetup", "examine", "repair"]
