"""The text of a plain dump as files hold it: as it is, or packed."""
