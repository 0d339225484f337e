"""How activations become latents, and which steps in W raise a unit.

fit                  `fit_link`, `fit_from_moments`: any method, in memory or from streamed moments
moments              second moments in one pass; `host_moments` the same by BLAS, `class_sums` sums by class
linear, dual         least squares and ridge: of the units' Gram matrix, of the samples' where these are fewer
elastic_net          from moments; `streamed_elastic_net` from pairs, where moments do not fit in memory
mlp                  a network as link
steering             `spectrum`, `directions`: steps that raise units; `choose`: λ on held-out pairs
stability            what steps will do, told from pairs alone
covariance           shrunk covariance and principal components
shuffled             the baseline: the pairing of r and w removed
"""
