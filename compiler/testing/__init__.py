"""What tests of gradc, and of passes that others write for it, are made of."""
