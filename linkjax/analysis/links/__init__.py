"""How activations become latents, and which steps in W raise a unit.

fit                  `fit_link`: arrays in memory; `choose`: the solver of a problem, whatever holds its pairs
problem              what solvers see: pairs in memory or stored, `Settings`, and their result, a `Fit`
by_moments           solver: least squares, ridge, elastic net from second moments; `fit_from_moments`
moments              second moments in one pass; `host_moments` the same by BLAS, `class_sums` sums by class
linear, elastic_net  the formulas of `by_moments`
dual                 solver: least squares and ridge from the samples' Gram matrix, where these are fewer than units
streamed_elastic_net solver: elastic net from streamed pairs, where moments do not fit in memory
mlp                  solver: a network
steering             `spectrum`, `directions`: steps that raise units; `choose`: λ on held-out pairs
stability            what steps will do, told from pairs alone
covariance           shrunk covariance and principal components
"""
