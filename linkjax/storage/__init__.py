"""Weights and results on disk, with their manifests and locks, and how any of them is opened again."""
