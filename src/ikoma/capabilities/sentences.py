"""Sentences of answers that several capabilities give."""

from __future__ import annotations

from ikoma.kernel.sentences import Fields


def say_health(fields: Fields) -> str:
    """Say how an app is, and where."""
    release = f" (release {fields['release']})" if fields.get("release") else ""
    where = f" at {', '.join(fields['urls'])}" if fields.get("urls") else ""
    return f"{fields.get('name', 'The app')} is {fields.get('health')}{release}{where}."


def say_operation(fields: Fields) -> str:
    """Say how far an operation is."""
    about = f" of {fields['appName']}" if fields.get("appName") else ""
    state = "goes on" if fields.get("state") == "running" else fields.get("state")
    return f"{str(fields.get('capability')).replace('.', '_')}{about}: {state}."
