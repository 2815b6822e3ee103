//! [`Workspace`]: a fresh folder in which the binary runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A machine whose two adapters share a switch.
pub const MACHINE: &str = "1rc:1sw:2nic@gen4x16/nic=connectx-6";

/// A scenario on [`MACHINE`] with two variants and an expectation that holds.
pub const SCENARIO: &str = r#"// A peer copy, redirected and not.
Scenario(
    machine: "1rc:1sw:2nic@gen4x16/nic=connectx-6",
    workloads: [Copy(name: "peer", from: "nic0", to: "nic1", bytes: "1MiB")],
    variants: [(name: "off", kernel: (acs: Off)), (name: "on", kernel: (acs: On))],
    expect: ["flow.off/peer.delivered == 1MiB"],
)
"#;

/// A folder that goes away with this value.
pub struct Workspace(PathBuf);

/// What the binary did.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Workspace {
    pub fn new() -> Workspace {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("peerbus-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Workspace(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Workspace {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Names of everything in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerbus"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null()).env_remove("NO_COLOR");
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    /// Runs and asserts the exit code.
    pub fn expect(&self, code: i32, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, Some(code), "{args:?}\n{}\n{}", done.text(), done.stderr);
        assert!(!done.stderr.contains("panicked"), "{args:?}: {}", done.stderr);
        done
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Done { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Done {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Captures of real machines, which live beside the source tree; a test that needs one is skipped without.
pub fn capture(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures").join(name);
    let found = path.canonicalize().ok();
    if found.is_none() {
        println!("skipped: there is no capture {}", path.display());
    }
    found
}

/// Asserts that `value` is an object with all of `keys`.
pub fn assert_keys(value: &Value, keys: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    for key in keys {
        assert!(object.contains_key(*key), "no {key:?} in {value}");
    }
}
