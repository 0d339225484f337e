"""Which pixel of a generated image is of which part: heads on the generator's features, from few masks.

segmentation         the linear head: multinomial logistic regression
few_shot             the original's network
trainers             how heads of either kind are trained and tested
drawing              pictures with features, or with predicted labels
labelling            which images to label next
overlap              intersection over union, held out by folds
"""
