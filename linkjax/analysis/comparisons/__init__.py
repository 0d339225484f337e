"""What two classifiers share, on the same samples, and what is one's own.

matching             units of one and of the other, by correlation within classes, against shuffled pairs
effect_profiles      units matched by what they do in the image
cka                  how alike all of r is, as one number
"""
