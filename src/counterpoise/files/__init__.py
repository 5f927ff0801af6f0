"""Files on disk: written atomically, locked, and full disks in words."""
