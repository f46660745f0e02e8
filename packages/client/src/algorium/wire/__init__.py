"""What client and server both speak: names, URIs, error codes. Standard library only."""
