"""Is a data set what it claims to be? Files, sizes, alignment, and scenes that training and test pictures share."""
