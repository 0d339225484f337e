"""Any PyTorch image classifier as a graph of operations: exported once, in its user's environment."""
