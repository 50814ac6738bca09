"""A real system on pictures drawn for it, disturbed in every way, and proofs that all is well."""
