"""The one loop that trains every method; plain PyTorch, no Ray."""
