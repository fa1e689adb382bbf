"""The asynchronous server."""
