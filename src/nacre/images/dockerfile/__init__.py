"""What a Dockerfile means: the plan of its stages, and the fold over their instructions. Pure."""
