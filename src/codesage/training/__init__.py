"""What both stages share: the step loop, optimizers, checkpoints and processes."""
