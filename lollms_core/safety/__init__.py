"""Pure rules that guard names, hosts and paths."""
