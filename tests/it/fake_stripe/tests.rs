//! Each rule of the fake, over its socket.
