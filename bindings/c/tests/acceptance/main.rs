//! Installs the library into an empty prefix, and does with it what its users do: in C and C++, with
//! each compiler, outside of this tree; and lets processes in Rust, C and C++ talk to each other.
//!
//! It needs gcc, clang, cmake, pkg-config, valgrind and libasio-dev. `.ci/run c` installs them. What is
//! missing fails, and says so; but for a compiler for Arm, without which nothing is compiled for that.

mod abi;
mod building;
mod cost;
mod exchanging;
mod golden;
mod inline;
mod installed;
mod interface;
mod killing;
mod packaged;
mod stepping;
