"""Immutable files under a data root: items, vectors and deletes."""
