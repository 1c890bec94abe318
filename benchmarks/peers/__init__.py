"""Other queues, measured beside ours in the same run on the same server, each in an environment of its own."""
