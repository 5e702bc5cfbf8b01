"""Backups: a consistent snapshot of collections as files, and a store made from one anywhere."""

from vecstore.backup.making import BackupReport, back_up
from vecstore.backup.restoring import RestoreReport, restore

__all__ = ["BackupReport", "RestoreReport", "back_up", "restore"]
