"""From what trials left in their folders to tables; needs neither torch nor the machine they ran on."""
