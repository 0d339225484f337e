"""What two classifiers share, on the same samples, and what is one's own.

matching             units of one and of the other, by correlation within classes, against shuffled pairs
effect_profiles      units matched by what they do in the image
moves                whether counterfactuals of the same samples move the same way, and what one moves more
cka                  how alike all of r is, as one number
"""
