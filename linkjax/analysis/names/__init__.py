"""Words for units, by an image–text embedder.

interventional    what raising the unit adds to pictures, held against random directions
observational     what is in the pictures in which the unit is high (soft WPMI of CLIP-Dissect)
views             a part of a picture alone, as the embedder is shown it
verdict           both beside each other: the same, another, or no name
"""
