"""Parts of networks without meaning: they know neither worlds nor losses."""
