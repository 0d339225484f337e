"""Every tolerance of the tests, with its reason. Max-abs, or relative to the largest value of the reference array."""

# -- colour and region metrics
COLOR = 2e-6  # relative to the range: a float32 power and cube root, a few roundings each
REGIONS = 1e-5  # relative to each column's largest value; measured 7e-7 for means, 1.2e-7 for geometry
# A byte image's luma can lie exactly between two bins; linkjax rounds up exactly, float64 either way by its own
# rounding. Two such pixels in 55 296 move an entropy by 4e-6 of its value.
ENTROPY_TIES = 1e-5
BATCHING = 2e-6  # relative to the largest value: the same sums in another order
