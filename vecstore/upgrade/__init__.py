"""Upgrade: what a newer model is worth here, measured, and one recommendation."""
