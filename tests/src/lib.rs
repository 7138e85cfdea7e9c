//! The harness of the end-to-end tests: real programs, started, driven and watched.
//!
//! The tests themselves stand in `e2e/`, one file a subject, and run by `tests/run`, which installs
//! the programs and says in the environment where they are. Programs of the tests' own stand in
//! `src/bin/`.
//!
//! | module | gives |
//! |---|---|
//! | [`server`] | the real `fusebox serve` on free ports, killed, restarted, read |
//! | [`caller`] | a real process that links the SDK, told what to call and read |
//! | [`grpcurl`], [`operator`] | an operator's calls, by the tool an operator has |
//! | [`home`] | a directory of files, and `fusebox` run in it |
//! | [`oteltap`] | a real OTLP receiver, and what it was sent |
//! | [`upstream`] | a dependency that fails as told |
//! | [`chaos`], [`dice`] | writers that a server is killed under, what it owes them, and choices by a seed |
//! | [`http`] | one HTTP request over one connection |
//! | [`process`], [`lines`] | a child with its output captured, ended with its owner |
//! | [`small_disk`] | a disk that is full when the test wants it |
//! | [`wait`], [`clock`], [`ports`], [`tools`] | bounded waiting, time across processes, free ports, where programs are |
//! | [`source`], [`edges`] | Rust sources as paths, and the rules over who may import whom |
//!
//! What holds everywhere: nothing waits without a bound or sleeps in the hope that something has
//! happened; every child ends with the value that owns it, by its own process id; ports are free
//! ones below the ephemeral range. Trouble in the harness panics with the child's output, because
//! a test could do nothing better with it.

pub mod caller;
pub mod chaos;
pub mod clock;
pub mod dice;
pub mod edges;
pub mod grpcurl;
pub mod home;
pub mod http;
pub mod lines;
pub mod operator;
pub mod oteltap;
pub mod ports;
pub mod process;
pub mod server;
pub mod small_disk;
pub mod source;
pub mod tools;
pub mod upstream;
pub mod wait;
