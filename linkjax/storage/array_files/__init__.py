"""Files of plain arrays from outside, read as data: nothing in them is run, everything in them is checked."""
