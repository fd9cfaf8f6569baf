"""What images are made of: four kinds of input, each resolved, fetched and installed in its own way."""
