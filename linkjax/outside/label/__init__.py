"""A small local page to paint masks over generated pictures."""
