"""Looks into fresh and trained models: how far gradients reach, what theory says they should do, and what ails them."""

from hae_jax.doctor.examination import examine
from hae_jax.doctor.finding import Finding, Report
from hae_jax.doctor.patient import Patient

__all__ = ["Finding", "Patient", "Report", "examine"]
