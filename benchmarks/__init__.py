"""Speed of the simulator, and studies of the machine; run from the project's folder."""
