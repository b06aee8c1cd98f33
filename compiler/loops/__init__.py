"""The loop level: one kernel's axes, scalar expressions, reductions and stores."""
