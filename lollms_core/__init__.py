"""The pure half: values, errors, protocols and flows. Nothing in here does I/O."""
