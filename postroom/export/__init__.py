"""Selected mails as files, byte for byte as they came."""
