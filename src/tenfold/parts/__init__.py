"""Science that two or more rooms share; a part imports the engine and other parts, no room."""
