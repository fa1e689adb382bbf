"""The command line, `lollms`."""
