"""Commands beside the stages: a whole experiment in one, and a check of an installation or a folder."""
