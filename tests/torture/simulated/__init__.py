"""The parts of the simulation: its time, its world, who acts in it, and the judge. ``torture.simulation`` plays it."""
