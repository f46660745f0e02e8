"""Users and organizations, what they show, and what they keep secret."""
