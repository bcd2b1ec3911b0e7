"""Networks: nn.Module only, no losses, no devices, no files."""
