"""Steps to a draft of a recipe, and a note of what became of each."""
