"""Many models on many data sets at once: predictions are kept, figures come with intervals and significance."""
