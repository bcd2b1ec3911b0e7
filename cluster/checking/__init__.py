"""What `make cluster-check` looks at: launcher files, the image, Kubernetes objects; all without a network."""
