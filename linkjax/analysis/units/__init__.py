"""What a unit does to an image: measured by sweeps, estimated by derivatives, tested against random directions.

sweep                `sweep_step`: unit set, latent moved, image drawn and measured; `asked`: the values
response             the formula of a unit's effect: `slopes`, `fidelity`, `response_matrix`
selectivity          `effects` with intervals; sign-flip test, null of random directions, Benjamini–Hochberg
per_obtained         effects per change obtained: asked values as instrument
selection, query     `measure_effects` the table, `select` what is asked of it; `nothing_found`: why nothing is
screening            `derivatives`, `unit_effects`: first order, all units; `candidates`: those worth a sweep
shared_directions    what steps of many units have in common, and what is each unit's own
redundancy           units that say the same; `effect_map`: units as points in a plane
random_directions    what would change had the link pointed anywhere else
readouts             anything linear in r, raised as a unit is
ablation             what the classifier does without a unit
"""
