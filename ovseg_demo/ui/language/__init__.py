"""The texts of the page: one JSON file for each language, all with the keys of ``en.json``."""
