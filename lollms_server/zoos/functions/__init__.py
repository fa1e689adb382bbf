"""Functions that come with the server."""
