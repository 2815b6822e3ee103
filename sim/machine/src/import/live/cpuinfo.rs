//! `/proc/cpuinfo`: who made the CPU and how wide its addresses are.

use crate::import::lspci::{Identity, Processor};

/// What the first CPU of the file is. Machines other than PCs name no vendor there.
pub fn processor(text: &str) -> Processor {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
    };
    let identity = || {
        Some(Identity {
            vendor: field("vendor_id")?.to_owned(),
            family: field("cpu family")?.parse().ok()?,
            model: field("model")?.parse().ok()?,
        })
    };
    // "48 bits physical, 48 bits virtual".
    let width = |word: usize| field("address sizes")?.split_whitespace().nth(word)?.parse().ok();
    Processor { identity: identity(), physical_bits: width(0), virtual_bits: width(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pc_and_another_machine() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\n\
                    address sizes\t: 52 bits physical, 57 bits virtual\n";
        let found = processor(text);
        assert_eq!((found.physical_bits, found.virtual_bits), (Some(52), Some(57)));
        assert_eq!(
            found.identity.map(|cpu| (cpu.vendor, cpu.family, cpu.model)),
            Some(("AuthenticAMD".into(), 25, 1))
        );
        assert_eq!(processor("processor\t: 0\nCPU implementer\t: 0x41\n"), Processor::default());
    }
}
