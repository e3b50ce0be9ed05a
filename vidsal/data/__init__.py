"""Recorded fixations on disk in, densities and training samples out."""
