"""The enhancement methods, one folder each. Importing this package imports no torch: see :mod:`.registry`."""
