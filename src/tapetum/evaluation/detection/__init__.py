"""How well a detector finds things in dark pictures and in enhanced ones."""
