"""How good a link is, and how alike two spaces are.

evaluation           held out: in W, and after the linked image is encoded again
congruence           whether what is near in r is near in W
depth                how deep a link reaches, layer by layer
straightness         whether straight lines stay straight
familiarity          how far a photograph's activations lie from those a link was fitted on
streaming            means, errors and correlations, batch by batch
"""
