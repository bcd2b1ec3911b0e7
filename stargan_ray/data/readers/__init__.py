"""One file per published layout; each yields rows of the one schema."""
