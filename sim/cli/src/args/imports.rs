//! Arguments of `import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use peerbus_machine::import::Identity;

use super::Iommu;

/// What can be imported.
#[derive(Subcommand, Debug)]
pub enum Import {
    /// A topology as NCCL and RCCL write it for NCCL_TOPO_DUMP_FILE
    Nccl(Nccl),
    /// The machine this runs on, or a copy of its /sys and /proc
    #[command(after_long_help = LIVE_HELP)]
    Live(Live),
    /// What `lspci` prints of a machine, best of `lspci -vvv` as root
    #[command(after_long_help = LSPCI_HELP)]
    Lspci(Lspci),
}

const LIVE_HELP: &str = "\
Read as root; without root rights, capabilities such as ACS and the windows of host bridges stay unknown and are marked.

Examples:
  sudo peerbus import live -o machine.ron
  peerbus import live --root /tmp/copied-from-server -o server.ron
      a folder with copies of sys/bus/pci/devices, proc/iomem, proc/ioports, proc/cpuinfo and proc/cmdline";

/// Arguments of `import live`.
#[derive(Args, Debug)]
pub struct Live {
    /// Where sys and proc are
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    #[command(flatten)]
    pub told: Told,
    /// The machine file to write, RON or by its extension JSON; without it, or with `-`, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

const LSPCI_HELP: &str = "\
On the machine, as root:
  lspci -vvv > vvv.txt; lspci -xxxx > xxxx.txt; cat /proc/iomem > iomem.txt
Here:
  peerbus import lspci vvv.txt --hex xxxx.txt --iomem iomem.txt --cpu AuthenticAMD:25:1 --phys-bits 48 -o machine.ron

Any output of lspci does, with or without domains, numbers (-nn), dumps (-x, -xxx, -xxxx) and trees (-t), quoted or cut
short. What it does not show is marked in the machine file and carried into every answer that rests on it.";

/// Arguments of `import lspci`.
#[derive(Args, Debug)]
pub struct Lspci {
    /// The listing; `-` is standard input
    pub file: PathBuf,
    /// Output of `lspci -xxxx` of the same machine: registers as they are
    #[arg(long, value_name = "FILE")]
    pub hex: Option<PathBuf>,
    /// Its /proc/iomem, read as root: windows of host bridges, and memory
    #[arg(long, value_name = "FILE")]
    pub iomem: Option<PathBuf>,
    /// Its /proc/ioports, read as root
    #[arg(long, value_name = "FILE")]
    pub ioports: Option<PathBuf>,
    #[command(flatten)]
    pub told: Told,
    /// The machine file to write, RON or by its extension JSON; without it, or with `-`, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What no listing shows.
#[derive(Args, Debug)]
pub struct Told {
    /// Vendor, family and model of its CPU as in /proc/cpuinfo, such as AuthenticAMD:25:1
    #[arg(long, value_name = "VENDOR:FAMILY:MODEL", value_parser = cpu)]
    pub cpu: Option<Identity>,
    /// Width of its physical addresses, `address sizes` in /proc/cpuinfo
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(32..=57))]
    pub phys_bits: Option<u8>,
    /// Command line of its kernel, /proc/cmdline
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub cmdline: Option<String>,
    /// How its kernel used an IOMMU
    #[arg(long, value_enum)]
    pub iommu: Option<Iommu>,
}

/// `VENDOR:FAMILY:MODEL`, numbers decimal or with 0x.
fn cpu(text: &str) -> Result<Identity, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let mut fields = text.rsplitn(3, ':');
    let (model, family) = (fields.next().and_then(number), fields.next().and_then(number));
    match (fields.next(), family, model) {
        (Some(vendor), Some(family), Some(model)) if !vendor.is_empty() => {
            Ok(Identity { vendor: vendor.to_owned(), family, model })
        }
        _ => Err("write it as in /proc/cpuinfo, such as AuthenticAMD:25:1 or GenuineIntel:6:0x8f".to_owned()),
    }
}

/// Arguments of `import nccl`.
#[derive(Args, Debug)]
pub struct Nccl {
    /// The topology, XML; `-` is standard input
    pub file: PathBuf,
    /// The machine file to write, RON or by its extension JSON; without it, or with `-`, standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named_as_in_cpuinfo() {
        let read = |text| cpu(text).ok().map(|cpu| (cpu.vendor, cpu.family, cpu.model));
        assert_eq!(read("AuthenticAMD:25:1"), Some(("AuthenticAMD".to_owned(), 25, 1)));
        assert_eq!(read("GenuineIntel:0x6:0x8F"), Some(("GenuineIntel".to_owned(), 6, 0x8f)));
        for wrong in ["", "AuthenticAMD", ":6:1", "X:six:1", "X:1", "X:1:-1"] {
            assert!(cpu(wrong).is_err(), "{wrong}");
        }
    }
}
