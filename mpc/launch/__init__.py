"""Starting sessions: every party as a process of this machine."""
