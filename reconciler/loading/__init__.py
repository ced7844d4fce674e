"""From text to what is wanted: documents, variables, secrets and settings become resources and problems."""
