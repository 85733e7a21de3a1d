"""The proxy in front of the apps: Caddy, run and configured by IKOMA.

Its configuration says which apps there are; files say where each one's requests go. A switch writes one file.
"""
