"""Multi-step work as generators that drivers run."""
