"""Components that ship with the server."""
