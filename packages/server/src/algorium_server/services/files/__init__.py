"""Files and directories, hosted and connected."""
