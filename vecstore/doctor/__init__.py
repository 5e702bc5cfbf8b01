"""The doctor: whether a store is what its catalog says, and what can be put right without loss."""

from vecstore.doctor.examine import examine_collection, examine_store
from vecstore.doctor.report import DoctorReport, Finding, Severity

__all__ = ["DoctorReport", "Finding", "Severity", "examine_collection", "examine_store"]
