"""What shell commands mean, as far as that can be told for sure; nothing is run."""
