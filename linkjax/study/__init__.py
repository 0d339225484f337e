"""The verbs, in memory: sweep units, screen them all, select, search counterfactuals, draw. No folder is written.

    study   = linkjax.Study(generator, classifier, link, segmenter)    # or linkjax.demo_study()
    anchors = linkjax.anchors(linkjax.open("runs/dogs/pairs"), each=4) # or linkjax.sample(study, key, classes, each)
    swept   = linkjax.sweep(study, anchors, units=[420], steps=5)
    found   = linkjax.select(swept, "ear.area > 0 and fidelity > 0.5")

Each verb runs what the stage of its name runs and returns what that stage stores, as xarray: dimensions by name, the
settings and main numbers in `.attrs`. The pure functions below them, to be vmapped and differentiated, are in
`linkjax.analysis`.
"""
