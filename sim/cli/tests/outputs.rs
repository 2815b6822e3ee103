//! Files are written whole or not at all.

use std::process::Stdio;

use crate::workspace::{MACHINE, SCENARIO, Workspace};

#[test]
fn bad_input_leaves_no_file_and_keeps_the_old_one() {
    let here = Workspace::new();
    here.file("bad", "<graphs/>").file("old", "as it was");
    let commands: [&[&str]; 4] =
        [&["import", "nccl", "bad"], &["plan", "bad"], &["p2p", "bad"], &["run", "bad"]];
    for command in commands {
        for output in ["new", "old"] {
            let args: Vec<&str> = command.iter().copied().chain(["-o", output]).collect();
            here.expect(2, &args);
            assert_eq!(here.names(), ["bad", "old"], "{args:?}");
            assert_eq!(here.read("old"), "as it was");
        }
    }
}

#[test]
fn outputs_that_cannot_be_written_are_told() {
    let here = Workspace::new();
    here.file("folder/x", "").file("s.ron", SCENARIO);
    for output in ["absent/file", "folder"] {
        let done = here.expect(2, &["plan", MACHINE, "-o", output]);
        assert!(done.stderr.contains(output), "{}", done.stderr);
        // Before the run: neither the answer nor the other file is there.
        let done = here.expect(2, &["run", "s.ron", "--html", output, "-o", "answer"]);
        assert_eq!(done.text(), "");
        assert_eq!(here.names(), ["folder", "s.ron"]);
    }
}

#[test]
fn the_extension_tells_the_form() {
    let here = Workspace::new();
    here.expect(0, &["p2p", MACHINE, "-o", "a.json"]);
    here.expect(0, &["p2p", MACHINE, "-o", "a.txt"]);
    here.expect(0, &["p2p", MACHINE, "-o", "b.json", "--format", "text"]);
    assert!(here.read("a.json").starts_with('{'));
    assert_eq!(here.read("a.txt"), here.read("b.json"));
    assert_eq!(here.expect(0, &["p2p", MACHINE]).text(), here.read("a.txt"));
}

#[cfg(unix)]
#[test]
fn links_and_devices_stay_what_they_are() {
    let here = Workspace::new();
    here.file("real", "old");
    std::os::unix::fs::symlink("real", here.path("link")).unwrap();
    here.expect(0, &["plan", MACHINE, "-o", "link"]);
    assert!(here.path("link").is_symlink());
    assert!(here.read("real").contains("everything fits"));
    here.expect(0, &["plan", MACHINE, "-o", "/dev/null"]);
    assert_eq!(here.names(), ["link", "real"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let here = Workspace::new();
    let command = ["p2p", "4rc:4sw:8nic@gen4x16/nic=connectx-6", "--format", "json"];
    let mut child = here.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
