"""Noise of cameras in the dark: models, cameras' parameters, and their calibration."""
