"""The guard in front of the routes: keys, hosts, origins, limits."""
