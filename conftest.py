"""Wherever pytest runs a notebook, it also solves its exercises."""

pytest_plugins = ["tests.solved"]
