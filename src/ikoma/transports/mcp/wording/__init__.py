"""Words answers for a model, and marks what others wrote."""
