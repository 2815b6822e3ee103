//! The crate needs no standard library and no crate but `units`: it is compiled from its sources alone, with nothing
//! else to link to, into a program that brings its own panic handler.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles one crate with nothing but what `arguments` name.
fn compile(source: &Path, out: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.args(["--edition", "2024", "-C", "panic=abort", "--cap-lints", "allow", "--out-dir"]).arg(out);
    command.arg("-L").arg(out).args(arguments).arg(source);
    let done = command.output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

fn libraries(out: &Path) -> Result<(), String> {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let library = ["--crate-type", "rlib", "--crate-name"];
    compile(&sim.join("units/src/lib.rs"), out, &[&library[..], &["peerbus_units"]].concat())?;
    let needs_units = ["peerbus_os", "--extern", "peerbus_units"];
    compile(&sim.join("os/src/lib.rs"), out, &[&library[..], &needs_units].concat())
}

fn program(source: &Path, out: &Path) -> Result<(), String> {
    let both = [
        "--crate-type",
        "staticlib",
        "--extern",
        "peerbus_os",
        "--extern",
        "peerbus_units",
        "--emit",
        "link",
    ];
    compile(source, out, &both)
}

#[test]
fn the_crate_links_without_a_standard_library() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("freestanding");
    std::fs::create_dir_all(&out).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/freestanding/program.rs");
    libraries(&out).unwrap_or_else(|error| panic!("not without a standard library:\n{error}"));
    program(&source, &out).unwrap_or_else(|error| panic!("not without a standard library:\n{error}"));

    // The check itself: with `std` in the program, the same compilation fails.
    let text = std::fs::read_to_string(&source).unwrap();
    let hosted = out.join("hosted.rs");
    std::fs::write(&hosted, format!("{text}\nextern crate std;\n")).unwrap();
    let refusal = program(&hosted, &out).expect_err("a program with `std` was accepted");
    assert!(refusal.contains("panic_impl"), "{refusal}");
}
