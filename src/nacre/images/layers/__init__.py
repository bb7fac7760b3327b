"""Layers on their way: taken, compressed, packed again, delivered."""
