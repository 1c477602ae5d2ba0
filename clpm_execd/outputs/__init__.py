"""When the plant advances, and where its samples go."""
