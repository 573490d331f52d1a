"""``/auth/*`` of the host API: who one is, logging in, tokens, invitations, users."""
