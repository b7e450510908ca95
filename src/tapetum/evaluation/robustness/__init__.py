"""What users feel: whether results hold as exposure, noise, compression and tiles change, and good pictures stay."""
