"""Commands of the command line that are more than one capability's verb."""
