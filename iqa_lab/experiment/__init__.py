"""A live experiment on this machine: people rate or compare images in a browser, and the answers become scores."""
