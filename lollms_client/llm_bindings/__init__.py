"""Text bindings, a folder each."""
