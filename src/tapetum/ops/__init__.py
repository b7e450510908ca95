"""Numerical operators: a plain reference, and fast back ends beside it. Knows nothing of pictures' files or methods."""
