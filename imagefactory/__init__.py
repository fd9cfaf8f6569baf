"""imagefactory: one recipe per scientific application, tested images of it."""

import os

# No plug-in that happens to be installed may change what a recipe means; looking for them takes time, too.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
