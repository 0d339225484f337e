"""Metrics of images and of their parts, in one table.

measurements         `measure`: everything a sweep measures; `spread`: of a metric among untouched images
regions              `measure_regions`: colour, entropy and moment ellipse of each part
image_metrics        of whole images, and of their change
parts                images and their parts drawn in one program
motion, optical_flow what moved between two images
"""
