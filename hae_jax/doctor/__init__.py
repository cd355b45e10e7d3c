"""Looks into fresh and trained models: how far gradients reach, what theory says they should do, and what ails them."""

from hae_jax.doctor.examination import examine
from hae_jax.doctor.finding import Finding, Repair, Report
from hae_jax.doctor.patient import Patient
from hae_jax.doctor.proof import repair

__all__ = ["Finding", "Patient", "Repair", "Report", "examine", "repair"]
