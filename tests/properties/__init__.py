"""Properties that must hold for all inputs, against simple models."""
