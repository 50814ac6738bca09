"""What processes say, kept in `<data>/logs` and read back."""
