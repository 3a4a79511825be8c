"""A text as QR codes made of characters, as many as the screen needs."""
