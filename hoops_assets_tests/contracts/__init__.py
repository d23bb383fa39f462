"""One suite per service that every provider must pass, unchanged; a test's id carries the provider's name."""
