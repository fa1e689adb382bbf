"""The documented routes and their models."""
