//! Names that `lspci` prints instead of numbers: classes and, of makers that matter here, vendors.
//!
//! Without `-n` or `-nn` a listing has no numbers. The class names are those of the PCI Code and ID Assignment
//! Specification as the pci.ids database words them.

/// Base class and subclass by name.
const CLASSES: [(&str, u16); 88] = [
    ("Non-VGA unclassified device", 0x0000),
    ("VGA compatible unclassified device", 0x0001),
    ("Unclassified device", 0x00ff),
    ("SCSI storage controller", 0x0100),
    ("IDE interface", 0x0101),
    ("Floppy disk controller", 0x0102),
    ("IPI bus controller", 0x0103),
    ("RAID bus controller", 0x0104),
    ("ATA controller", 0x0105),
    ("SATA controller", 0x0106),
    ("Serial Attached SCSI controller", 0x0107),
    ("Non-Volatile memory controller", 0x0108),
    ("Universal Flash Storage controller", 0x0109),
    ("Mass storage controller", 0x0180),
    ("Ethernet controller", 0x0200),
    ("Token ring network controller", 0x0201),
    ("FDDI network controller", 0x0202),
    ("ATM network controller", 0x0203),
    ("ISDN controller", 0x0204),
    ("Infiniband controller", 0x0207),
    ("Fabric controller", 0x0208),
    ("Network controller", 0x0280),
    ("VGA compatible controller", 0x0300),
    ("XGA compatible controller", 0x0301),
    ("3D controller", 0x0302),
    ("Display controller", 0x0380),
    ("Multimedia video controller", 0x0400),
    ("Multimedia audio controller", 0x0401),
    ("Computer telephony device", 0x0402),
    ("Audio device", 0x0403),
    ("Multimedia controller", 0x0480),
    ("RAM memory", 0x0500),
    ("FLASH memory", 0x0501),
    ("CXL", 0x0502),
    ("Memory controller", 0x0580),
    ("Host bridge", 0x0600),
    ("ISA bridge", 0x0601),
    ("EISA bridge", 0x0602),
    ("MicroChannel bridge", 0x0603),
    ("PCI bridge", 0x0604),
    ("PCMCIA bridge", 0x0605),
    ("NuBus bridge", 0x0606),
    ("CardBus bridge", 0x0607),
    ("RACEway bridge", 0x0608),
    ("Semi-transparent PCI-to-PCI bridge", 0x0609),
    ("InfiniBand to PCI host bridge", 0x060a),
    ("Bridge", 0x0680),
    ("Serial controller", 0x0700),
    ("Parallel controller", 0x0701),
    ("Multiport serial controller", 0x0702),
    ("Modem", 0x0703),
    ("GPIB controller", 0x0704),
    ("Smard Card controller", 0x0705),
    ("Communication controller", 0x0780),
    ("PIC", 0x0800),
    ("DMA controller", 0x0801),
    ("Timer", 0x0802),
    ("RTC", 0x0803),
    ("PCI Hot-plug controller", 0x0804),
    ("SD Host controller", 0x0805),
    ("IOMMU", 0x0806),
    ("Timing Card", 0x0809),
    ("System peripheral", 0x0880),
    ("Keyboard controller", 0x0900),
    ("Digitizer Pen", 0x0901),
    ("Mouse controller", 0x0902),
    ("Input device controller", 0x0980),
    ("Generic Docking Station", 0x0a00),
    ("FireWire (IEEE 1394)", 0x0c00),
    ("ACCESS Bus", 0x0c01),
    ("SSA", 0x0c02),
    ("USB controller", 0x0c03),
    ("USB Controller", 0x0c03),
    ("Fibre Channel", 0x0c04),
    ("SMBus", 0x0c05),
    ("InfiniBand", 0x0c06),
    ("IPMI Interface", 0x0c07),
    ("SERCOS interface", 0x0c08),
    ("CANBUS", 0x0c09),
    ("Serial bus controller", 0x0c80),
    ("Wireless controller", 0x0d80),
    ("I2O", 0x0e00),
    ("Network and computing encryption device", 0x1000),
    ("Encryption controller", 0x1080),
    ("Performance counters", 0x1101),
    ("Signal processing controller", 0x1180),
    ("Processing accelerators", 0x1200),
    ("Non-Essential Instrumentation", 0x1300),
];

/// Vendors whose functions identify a host bridge or are what peer-to-peer traffic is about.
const VENDORS: [(&str, u16); 20] = [
    ("Intel Corporation", 0x8086),
    ("Advanced Micro Devices, Inc. [AMD/ATI]", 0x1002),
    ("Advanced Micro Devices, Inc. [AMD]", 0x1022),
    ("Advanced Micro Devices", 0x1022),
    ("NVIDIA Corporation", 0x10de),
    ("nVidia Corporation", 0x10de),
    ("Mellanox Technologies", 0x15b3),
    ("Broadcom / LSI", 0x1000),
    ("LSI Logic / Symbios Logic", 0x1000),
    ("PLX Technology, Inc.", 0x10b5),
    ("Microsemi / PMC / IDT", 0x111d),
    ("PMC-Sierra Inc.", 0x11f8),
    ("Microsemi Storage Solutions", 0x11f8),
    ("Broadcom Inc. and subsidiaries", 0x14e4),
    ("Samsung Electronics Co Ltd", 0x144d),
    ("Red Hat, Inc.", 0x1b36),
    ("ASPEED Technology, Inc.", 0x1a03),
    ("ASMedia Technology Inc.", 0x1b21),
    ("Google, Inc.", 0x1ae0),
    ("Amazon.com, Inc.", 0x1d0f),
];

/// Base class and subclass that go by `name`.
pub fn class_by_name(name: &str) -> Option<u16> {
    CLASSES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
}

/// The vendor that `description` begins with, and what follows its name.
pub fn vendor_by_name(description: &str) -> Option<(u16, &str)> {
    VENDORS.iter().find_map(|(name, id)| Some((*id, description.strip_prefix(name)?.trim_start())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known() {
        assert_eq!(class_by_name("PCI bridge"), Some(0x0604));
        assert_eq!(class_by_name("Weather"), None);
        let amd = "Advanced Micro Devices, Inc. [AMD] Device 14a4";
        assert_eq!(vendor_by_name(amd), Some((0x1022, "Device 14a4")));
        assert_eq!(vendor_by_name("Advanced Micro Devices, Inc. [AMD/ATI] Fiji").map(|v| v.0), Some(0x1002));
    }
}
