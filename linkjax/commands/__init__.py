"""Commands beside the stages: a whole experiment in one, and checks of an installation or a folder."""
