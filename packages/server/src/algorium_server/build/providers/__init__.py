"""Providers of source hosting: GitHub, GitLab, Bitbucket."""
