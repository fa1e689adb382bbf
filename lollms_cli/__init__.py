"""The command line: `lollms ...`. Every command imports what it needs when it runs, so that help is instant."""
