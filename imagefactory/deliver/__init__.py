"""What people take away: launchers and module files, bundles."""
