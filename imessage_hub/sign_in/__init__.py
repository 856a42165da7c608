"""How people come in and stay in: password, lock, second factor, invitations, sessions, one's own account."""
