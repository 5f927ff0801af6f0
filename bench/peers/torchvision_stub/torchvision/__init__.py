"""Stand-in for torchvision: only what cellmap-data 2026.3 imports, so that no build of torch is pulled in."""
