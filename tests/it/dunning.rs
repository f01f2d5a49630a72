//! Failed payments: policy, notices and the application's events.
