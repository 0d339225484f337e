"""What is kept: weights, results with their manifests and claims, and how any of them is opened again."""
