"""Reports how apps are: health, logs, restarts, verification, the app's runbook."""
