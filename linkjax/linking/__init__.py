"""What the stage `link` is made of: rows of pairs, their moments, and fits that need more than moments."""
