//! Holds every proposal of a policy against what the configuration promises.
