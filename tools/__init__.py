"""What a person does with devices and brokers, and the command line."""
