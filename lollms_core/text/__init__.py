"""Pure work on text: thoughts, code blocks, chunks."""
