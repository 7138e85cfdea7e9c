//! Tells the benchmarks who built them, and for what: figures compare only among the same.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let said = |key| env::var(key).unwrap_or_default();
    let version = Command::new(said("RUSTC")).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let compiler = version.unwrap_or_else(|_| "an unknown compiler".into());
    let (target, features) = (said("TARGET"), said("CARGO_CFG_TARGET_FEATURE"));
    let compiler = compiler.trim();
    println!("cargo::rustc-env=BUILT_BY={compiler}");
    println!("cargo::rustc-env=BUILT_FOR={target} with {features}");
}
