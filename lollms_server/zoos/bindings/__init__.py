"""Binding types that ship with the server, a folder each."""
