"""The process that runs one plugin: loads its package from the worker's socket and answers calls."""
