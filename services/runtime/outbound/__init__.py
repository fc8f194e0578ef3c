"""What leaves the platform on behalf of plugins: requests and webhooks, to public addresses only."""
