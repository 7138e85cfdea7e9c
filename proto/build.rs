//! Generates the contract's Rust code, without protoc.
//!
//! protox compiles the `.proto` files in pure Rust, so that a fresh machine needs no system
//! package; tonic-prost-build makes messages, clients and servers of them. The descriptors that
//! reflection serves are written beside them with their comments and imports, but without the
//! store's records, which nobody outside may speak.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use protox::Compiler;

const CONTRACT: [&str; 6] = [
    "fusebox/v1/breaker.proto",
    "fusebox/v1/policy.proto",
    "fusebox/v1/policy_service.proto",
    "fusebox/v1/statistics.proto",
    "fusebox/v1/sync_service.proto",
    "fusebox/v1/fleet_service.proto",
];
const INTERNAL: &str = "fusebox/store/v1/record.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=fusebox");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(CONTRACT.map(|file| root.join(file)))?;
    let reflected = compiler.encode_file_descriptor_set();
    fs::write(out_dir.join("fusebox_v1.bin"), reflected)?;
    compiler.open_file(root.join(INTERNAL))?;
    generate(&compiler, &out_dir)
}

/// Maps are sorted, so that equal messages have equal bytes. Messages know their names, by which
/// their descriptors are found. How a client connects is its user's choice, so no constructor that
/// dials is generated.
fn generate(compiler: &Compiler, out_dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(out_dir)
        .btree_map(".")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
