"""Who may call, and how much: keys and their scopes, origins, rates."""
