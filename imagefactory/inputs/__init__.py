"""What images are made of: four kinds of input, each resolved, fetched and installed in its own way; and the
blobs that upstream base images consist of.

Resolving and fetching start slowly, and most runs do neither: who needs something of this room enters its
module.
"""
