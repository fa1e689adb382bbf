"""The effects that client and server share: drivers, transports, engines, files."""
