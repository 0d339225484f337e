"""Classifiers that are graphs of operations, exported from other programs and kept as data."""
