//! `myapp`: see the library of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    myapp::main(std::env::args_os())
}
