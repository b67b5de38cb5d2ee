"""The live lanes: small pieces of work on whatever endpoint a user has, each with a record."""
