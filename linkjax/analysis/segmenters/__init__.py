"""Which pixel of a generated image is of which part: heads on the generator's features, from few masks.

segmentation         the linear head: multinomial logistic regression
few_shot             the original's network
heads                the two kinds under one roof
drawing              pictures with features, or with predicted labels
labelling            which images to label next
overlap              intersection over union, held out by folds
"""
