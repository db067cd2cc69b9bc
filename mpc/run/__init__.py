"""Running programs: interpret (the only scheduler), rehearse (on shapes), execute (between parties)."""
