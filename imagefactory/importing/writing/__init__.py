"""A draft to the files of a recipe folder."""
