"""Counterfactuals: which change of r flips the class, how small it can be, and the path to it.

minimal              `search`: the smallest changes, by penalty and by what they go through
counterfactual       the original's search
paths                from a sample to its counterfactual: `walk`, `first_crossing`, `decision_lines`
boundary             the boundary of a pair of classes, many paths aligned where each flips
transitions          units that recur among those that change most, and by chance
"""
