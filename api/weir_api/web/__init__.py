"""What every API family shares: endpoints, errors, limits, OpenAPI. It knows no family."""
