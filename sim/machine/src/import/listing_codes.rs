//! Entries of the codes about captures of real machines: `lspci` listings, `/proc/iomem`, `/sys`.

use super::codes::*;
use crate::codes::Entry;

const GOOD: &str = "00:02.0 VGA compatible controller: Intel Corporation Device 3e92\n\
                    \tRegion 2: Memory at e0000000 (64-bit, prefetchable) [size=256M]\n";

/// Every code about captures. What the examples are, their explanations say; without a word they are listings.
pub const LISTING_ENTRIES: &[Entry] = &[
    Entry {
        code: BAD_LINE,
        title: "a line of a listing means nothing",
        explanation: "The line has a form that `lspci` prints, and a value in it that it cannot have printed: a register number \
                      beyond 5, an address with other than hexadecimal digits, a size that is no number. The text was \
                      edited or damaged on its way; other lines are passed over when they are not understood.",
        wrong: "00:02.0 VGA compatible controller: Intel Corporation Device 3e92\n\
                \tRegion 9: Memory at e0000000 (64-bit, prefetchable) [size=256M]\n",
        right: GOOD,
    },
    Entry {
        code: BAD_DUMP,
        title: "a row of a dump is broken",
        explanation: "`lspci -x` prints rows of an offset, a colon and sixteen bytes of two hexadecimal digits. Offsets are \
                      multiples of 10 up to ff0. Rows may be missing, as those that are all zero are in some listings.",
        wrong: "00:02.0 0300: 8086:3e92\n00: 86 80 92 3e zz\n",
        right: "00:02.0 0300: 8086:3e92\n00: 86 80 92 3e\n",
    },
    Entry {
        code: BAD_RANGE,
        title: "a line of /proc/iomem is broken",
        explanation: "A line is a first and a last address in hexadecimal, ` : ` and a name; what lies inside is indented by \
                      two spaces more. The examples are such files.",
        wrong: "fe00zz00-fe7fffff : PCI Bus 0000:00\n",
        right: "fe000000-fe7fffff : PCI Bus 0000:00\n",
    },
    Entry {
        code: NOT_A_LISTING,
        title: "not a listing of lspci",
        explanation: "No line of the text begins with the place of a function, such as `03:00.0` or `0000:03:00.0`, and its \
                      class. Output of `lspci` in any form has such lines; `lspci -m`, `nvidia-smi topo -m` and `lshw` \
                      print something else.",
        wrong: "GPU0  X  PHB\nGPU1 PHB  X\n",
        right: GOOD,
    },
    Entry {
        code: NO_TREE,
        title: "no bridge says where it leads",
        explanation: "Which function is below which follows from the bus numbers of bridges, and those are printed with `-v` \
                      and more, in dumps, and in the tree of `lspci -t`. A plain list has none of them.",
        wrong: "00:01.0 PCI bridge: Intel Corporation Device 1901\n01:00.0 VGA compatible controller: NVIDIA Corporation Device 2204\n",
        right: "00:01.0 PCI bridge: Intel Corporation Device 1901\n\
                \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n\
                01:00.0 VGA compatible controller: NVIDIA Corporation Device 2204\n",
    },
    Entry {
        code: BUS_LED_TO_TWICE,
        title: "bus numbers of bridges contradict each other",
        explanation: "Every bus but a root bus has one bridge that leads to it, and a number above that of the bus the bridge is \
                      on. Listings of two machines in one file look like this.",
        wrong: "00:01.0 PCI bridge: Intel Corporation Device 1901\n\
                \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n\
                00:02.0 PCI bridge: Intel Corporation Device 1905\n\
                \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n",
        right: "00:01.0 PCI bridge: Intel Corporation Device 1901\n\
                \tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n\
                00:02.0 PCI bridge: Intel Corporation Device 1905\n\
                \tBus: primary=00, secondary=02, subordinate=02, sec-latency=0\n",
    },
    Entry {
        code: CONTRADICTION,
        title: "what is shown cannot be one machine",
        explanation: "Every line is well-formed, and together they describe a machine that cannot be: two registers at the same \
                      address, two functions with the same place, windows that overlap. The message says which rule of machine \
                      files is broken.",
        wrong: "00:02.0 VGA compatible controller: Intel Corporation Device 3e92\n\
                \tRegion 0: Memory at e0000000 (32-bit, prefetchable) [size=256M]\n\
                00:03.0 VGA compatible controller: Intel Corporation Device 3e92\n\
                \tRegion 0: Memory at e0000000 (32-bit, prefetchable) [size=256M]\n",
        right: GOOD,
    },
    Entry {
        code: BAD_FOLDER,
        title: "a folder of /sys/bus/pci/devices is broken",
        explanation: "Each folder is named by the place of its function, and its files have the forms Linux gives them: numbers with \
                      0x, and in `resource` three of them a line. The examples are such lines.",
        wrong: "0000:00:02.0/resource: 0x0 0x0",
        right: "0000:00:02.0/resource: 0x00000000e0000000 0x00000000efffffff 0x000000000014220c",
    },
];
