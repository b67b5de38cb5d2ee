"""Virtual time: the same engine on a loop whose clock jumps, and what that makes possible."""
