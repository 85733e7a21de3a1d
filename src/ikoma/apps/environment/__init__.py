"""An app's `.env`: its entries, their editing, what they were before, and how Compose reads them."""
