"""Foreign recipes to steps: one module for each format, and what they share."""
