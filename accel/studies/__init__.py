"""Studies that need simulator and frontend, or papers' figures beside ours."""
