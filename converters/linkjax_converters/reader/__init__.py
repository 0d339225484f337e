"""Reads files that pickle wrote, and runs nothing that they hold."""
