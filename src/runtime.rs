//! What supervises services on a host: Docker, Compose, configured commands.
