"""The atlas: every unit of a run with its pictures and numbers, in a folder that a browser opens from disk."""
