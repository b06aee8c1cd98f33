"""The compiler: graph IR, operations, autodiff, passes, loop IR, back ends, artefact, driver."""
