"""What the command line answers: help, and what is wrong with words and configs."""
