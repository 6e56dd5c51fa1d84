"""Pages for people: one file, no script, nothing from elsewhere."""
