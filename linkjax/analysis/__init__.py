"""Pure functions of arrays, without files, devices or randomness of their own. One folder answers one question.

    links            how do activations become latents?       fit_link, moments, linear, elastic_net, mlp, steering
    units            what does a unit do?                      sweep, response, selectivity, selection, screening
    names            what do words say it does?                interventional, observational, verdict, views
    counterfactuals  what flips the class?                     minimal, counterfactual, paths, boundary, transitions
    metrics          what is in an image, by part?             measurements, regions, image_metrics, motion
    segmenters       which pixel is of which part?             segmentation, few_shot, labelling, overlap
    comparisons      what do two classifiers share?            matching, effect_profiles, cka
    spaces           how good is a link, how alike two spaces? evaluation, congruence, familiarity, straightness

Used by several: `finite` (what is not finite), `ranks`, `float64` (programs in float64), `pairs` (drawing samples).
"""
