//! Inputs that cannot be used: code 2, a message that names them, nothing on standard output.

use std::io::Write;
use std::process::Stdio;

use crate::workspace::{MACHINE, Workspace};

#[test]
fn files_that_are_none() {
    let here = Workspace::new();
    here.file("folder/x", "")
        .file("binary", b"Machine(\n  name: \"\xff\xfe\")".as_slice())
        .file("empty.ron", "");
    for file in ["absent.ron", "folder", "binary", "empty.ron"] {
        for command in [&["plan"][..], &["p2p"], &["run"], &["import", "nccl"], &["compare", file]] {
            let args: Vec<&str> = command.iter().copied().chain([file]).collect();
            let done = here.expect(2, &args);
            assert_eq!(done.text(), "", "{args:?}");
            assert!(done.stderr.contains(file), "{args:?}: {}", done.stderr);
        }
        let document = here.expect(2, &["check", file, "--format", "json"]).json();
        assert_eq!(document["diagnostics"][0]["file"], file);
    }
}

#[test]
fn text_that_is_not_utf8_has_a_place() {
    let here = Workspace::new();
    here.file("binary", b"Machine(\n  name: \"\xff\xfe\")".as_slice());
    let found = &here.expect(2, &["check", "binary", "--format", "json"]).json()["diagnostics"][0];
    assert_eq!((&found["code"], &found["line"], &found["column"]), (&"C0002".into(), &2.into(), &10.into()));
}

#[test]
fn synthetic_machines_are_read_with_care() {
    let here = Workspace::new();
    for wrong in
        ["2rc", "0rc:1gpu", "1rc:1gpu:1sw", "1rc:1gpu@gen9x16", "1rc:1gpu/gpu=nothing", "256rc:256sw:256gpu"]
    {
        let done = here.expect(2, &["plan", wrong]);
        assert!(done.stderr.contains("error"), "{wrong}: {}", done.stderr);
    }
    // A file of that name wins over the form.
    here.file("1rc:1gpu", "not a machine");
    assert!(here.expect(2, &["plan", "1rc:1gpu"]).stderr.contains("not a machine"));
}

#[test]
fn machines_come_from_standard_input_too() {
    let here = Workspace::new();
    let machine = r#"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "a100-sxm4-80g"))])])"#;
    let mut child = here
        .command(&["plan", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(machine.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("a100-sxm4-80g"));
}

#[test]
fn colours_are_as_told() {
    let here = Workspace::new();
    for (color, expect) in [("always", true), ("never", false), ("auto", false)] {
        let done = here.expect(2, &["--color", color, "plan", "1rc:x"]);
        assert_eq!(done.stderr.contains('\u{1b}'), expect, "{color}");
    }
    assert!(!here.expect(0, &["plan", MACHINE]).text().contains('\u{1b}'));
}
