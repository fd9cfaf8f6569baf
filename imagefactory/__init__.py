"""imagefactory: one recipe per scientific application, tested images of it."""
