"""state.db: the records of the control plane itself."""
