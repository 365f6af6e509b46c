"""What chapters compute and no other part of the package needs: small pure functions, each with a test."""
