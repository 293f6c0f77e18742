"""The networks of the claims. Users bring their own."""
