"""The class lists that ship with the project, and their reader."""
