"""What the factory makes: a room for each kind of target, and a line for each in the register."""
