"""Devices and processes, batches and their memory, compiled programs, progress."""
