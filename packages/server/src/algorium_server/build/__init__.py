"""From a commit to a runnable version: git, environments, builds."""
