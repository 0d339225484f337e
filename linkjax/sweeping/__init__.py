"""What `linkjax sweep` is made of, beside the order of its work: compiled programs, result arrays, pictures."""
