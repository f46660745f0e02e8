"""The Algorium server."""
