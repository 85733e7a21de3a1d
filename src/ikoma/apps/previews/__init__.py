"""Makes previews of apps, and takes them away again."""
