"""One readable file per published method, on the Phase/Method contract of base."""
