"""What the papers compare with: clustering the trajectories of a frame's pixels."""
