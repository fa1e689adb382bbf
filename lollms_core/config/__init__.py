"""The schema dialect of binding cards: validation and defaults."""
