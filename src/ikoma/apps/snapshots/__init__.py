"""Keeps copies of an app's folder: each file once, by its digest."""
