//! The entries, in order of their codes.

code_entries! {
    SYNTAX "M0001" "The text is not readable"
        "A file is one value in RON: structures in `( )` with `name: value` fields, lists in `[ ]`, maps \
         in `{ }`, separated by commas; `//` and `/* */` begin comments. The same model is read as JSON. \
         Brackets, quotes or commas are wrong, so nothing behind this place can be trusted and only this \
         one problem is reported."
        wrong r##"(cpus: [(part: "generic-cpu"), host_bridges: [])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    UNKNOWN_FIELD "M0002" "No field has this name"
        "Every structure knows its fields; a name that is not one of them is most often misspelt, or \
         stands one level too high or too low. The field is left out and reading goes on."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(lnik: (gen: 4), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 4), below: Device(part: "generic-gpu"))])])"##;
    UNKNOWN_VARIANT "M0003" "No choice has this name"
        "Some values are one of a few named choices, such as `Switch(…)` or `Device(…)` below a port, or \
         `Mem32` as the kind of a window. Names begin with a capital letter, facts in `assumed` with a \
         small one."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Gpu(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    DUPLICATE_FIELD "M0004" "A field is given twice"
        "Each field may stand once in its structure. The first is used."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", memory: "80GiB", memory: "40GiB"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", memory: "80GiB"))])])"##;
    WRONG_SHAPE "M0005" "A value of another kind belongs here"
        "A list stands where a structure belongs, a number where a list belongs, and so on. The value is \
         left out and reading goes on."
        wrong r##"(cpus: (part: "generic-cpu"), host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    WRONG_VALUE "M0006" "The value is not understood"
        "Sizes, times and rates are strings with a unit (`\"64GiB\"`, `\"150ns\"`, `\"55GB/s\"`); addresses and\
          counts are numbers, in hexadecimal with `0x` and with underscores where they help; functions \
         are `\"0000:1b:00.0\"`. Numbers must fit their field."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", memory: "80 gigabytes"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", memory: "80GiB"))])])"##;
    MISSING_FIELD "M0101" "A required field is missing"
        "Most fields have a default that the schema describes; the parts that things are made of, and \
         what a window or a base address register is, have none."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(name: "gpu0"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(name: "gpu0", part: "generic-gpu"))])])"##;
    NO_CPUS "M0102" "The machine has no CPU"
        "Host bridges belong to a CPU package, and host memory is attached to one. Without any there is \
         nothing to boot."
        wrong r##"(host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    NO_HOST_BRIDGES "M0103" "The machine has no host bridge"
        "A host bridge is the top of a PCI hierarchy. A machine without one has no PCI devices at all."
        wrong r##"(cpus: [(part: "generic-cpu")])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    NO_SUCH_CPU "M0104" "There is no CPU with this index"
        "CPUs are numbered from 0 in the order of `cpus`."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(cpu: 1, ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(cpu: 0, ports: [(below: Device(part: "generic-gpu"))])])"##;
    DUPLICATE_NAME "M0105" "Two things have the same name"
        "Names are how scenarios, tables and diagnostics refer to devices, so each device needs its own; \
         so does each interconnect."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", name: "a")), (below: Device(part: "generic-gpu", name: "a"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", name: "a")), (below: Device(part: "generic-gpu", name: "b"))])])"##;
    UNKNOWN_DEVICE "M0106" "No device has this name"
        "Interconnects name devices by their `name`, or by the generated one (`gpu0`, `nic0`, … in order \
         of the file), and CPUs by their index: `cpu0`."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4", pairs: [(from: "gpu0", to: "gpu2")])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4", pairs: [(from: "gpu0", to: "gpu1")])])"##;
    LINK_TO_ITSELF "M0107" "Both ends of a link are the same"
        "A link between CPU packages, or a private link between devices, needs two different ends."
        wrong r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], cpu_links: [(from: 0, to: 1, part: "upi-16"), (from: 1, to: 1, part: "upi-16")])"##
        right r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], cpu_links: [(from: 0, to: 1, part: "upi-16")])"##;
    LINKED_TWICE "M0108" "The same two ends are linked twice"
        "One entry describes all links between two ends: the part of a CPU link says how many there are, \
         `links` does so for devices."
        wrong r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], cpu_links: [(from: 0, to: 1, part: "upi-16"), (from: 1, to: 0, part: "upi-16")])"##
        right r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], cpu_links: [(from: 0, to: 1, part: "upi-16")])"##;
    BAD_NAME "M0109" "This cannot be a name"
        "Names stand in paths such as `host0/rp1/gpu0`, in file names of reports and in expressions: \
         letters, digits, `-`, `_` and `.`, beginning with a letter or a digit."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", name: "my/gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", name: "my-gpu"))])])"##;
    MEMBER_TWICE "M0110" "A member is listed twice in an interconnect"
        "Members of a switched interconnect are listed once; how many links each has is said by `links`."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4-switch", members: ["gpu0", "gpu1", "gpu0"])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4-switch", members: ["gpu0", "gpu1"])])"##;
    INTERCONNECT_FORM "M0111" "Members and pairs do not fit the interconnect"
        "A switched interconnect lists its `members`, at least two, which all reach each other. A direct \
         one lists `pairs`. The part says which it is."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4", members: ["gpu0", "gpu1"])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4", pairs: [(from: "gpu0", to: "gpu1")])])"##;
    CPUS_APART "M0112" "CPUs are not linked to each other"
        "With several CPUs every one should reach every other over `cpu_links`; traffic between two that \
         do not meets no path."
        wrong r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], cpu_links: [(from: 0, to: 1, part: "upi-16")])"##;
    ZERO_LINKS "M0113" "A count of links is zero"
        "`links` counts parallel private links and is at least 1. Leave the pair out when there is none."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4", pairs: [(from: "gpu0", to: "gpu1", links: 0)])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink4", pairs: [(from: "gpu0", to: "gpu1", links: 18)])])"##;
    NOT_A_BRIDGE "M0114" "The device is no side of a non-transparent bridge"
        "A non-transparent bridge is two devices, one in each hierarchy, of parts that say by `ntb` which of \
         their BARs are windows to the other side."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "pex-87xx-ntb")), (below: Device(part: "generic-gpu"))])], ntbs: [(from: "dev0", to: "gpu0")])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "pex-87xx-ntb")), (below: Device(part: "pex-87xx-ntb"))])], ntbs: [(from: "dev0", to: "dev1")])"##;
    CPUS_ALONE "M0115" "A private interconnect joins CPUs alone"
        "Members of a private interconnect are devices, and CPUs that such a device shares its memory with: \
         what crosses it is between a device and a member. What joins two CPUs carries everything between \
         them and belongs in `cpu_links`."
        wrong r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], cpu_links: [(from: 0, to: 1, part: "upi-16")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink-c2c", pairs: [(from: "cpu0", to: "cpu1")])])"##
        right r##"(cpus: [(part: "generic-cpu"), (part: "generic-cpu")], cpu_links: [(from: 0, to: 1, part: "upi-16")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], interconnects: [(part: "nvlink-c2c", pairs: [(from: "gpu0", to: "cpu1")])])"##;
    UNKNOWN_PART "M0201" "No part has this id"
        "Parts are looked up in the catalogue and in the `parts` of the file itself. When a product is \
         not in the catalogue, describe it in `parts`, or use the generic part of its kind and mark it \
         with `assumed: [part]`."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "a100-sxm4-80gb"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "a100-sxm4-80g"))])])"##;
    WRONG_PART_KIND "M0202" "The part is of another kind"
        "A CPU part cannot stand below a port, nor a device where a switch belongs."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "pex88096"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "pex88096", ports: [(below: Device(part: "generic-gpu"))]))])])"##;
    DUPLICATE_PART "M0203" "A part id is taken"
        "Ids name parts across the catalogue and the file. To vary a part of the catalogue, copy it under\
          a new id."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], parts: [CpuLink(id: "upi-16", description: "", rate: "64GB/s", latency: "60ns", sources: {})])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], parts: [CpuLink(id: "my-link", description: "", rate: "64GB/s", latency: "60ns", sources: {})])"##;
    IMPOSSIBLE_PART "M0204" "A number of a part is impossible"
        "Parts are held to the limits of the PCIe specification: generations 1 to 7, lanes 1, 2, 4, 8, \
         12, 16 or 32, payloads and read requests powers of two from 128 to 4096 bytes, BARs powers of \
         two."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], parts: [Switch(id: "my-switch", description: "", pci: [], ports: 4, total_lanes: 64, generation: 8, lanes: 16, max_payload: "512B", acs: None, latency: "100ns", buffers: (posted: (header: 64, data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])], parts: [Switch(id: "my-switch", description: "", pci: [], ports: 4, total_lanes: 64, generation: 5, lanes: 16, max_payload: "512B", acs: None, latency: "100ns", buffers: (posted: (header: 64, data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})])"##;
    BAD_GENERATION "M0301" "There is no such PCIe generation"
        "Generations 1 to 7 are 2.5, 5, 8, 16, 32, 64 and 128 GT/s per lane."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 8), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 5), below: Device(part: "generic-gpu"))])])"##;
    BAD_LANES "M0302" "A link cannot have this many lanes"
        "PCIe links have 1, 2, 4, 8, 12, 16 or 32 lanes."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 6), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 8), below: Device(part: "generic-gpu"))])])"##;
    LINK_TOO_FAST "M0303" "A link is faster than one of its ends"
        "Both ends of a link must support its generation, unless a part only assumes it, as the generic ones do. \
         Leave `gen` out for the fastest that both support."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 5), below: Device(part: "a100-sxm4-80g"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 4), below: Device(part: "a100-sxm4-80g"))])])"##;
    LINK_TOO_WIDE "M0304" "A link is wider than one of its ends"
        "Both ends of a link must have its lanes. Leave `lanes` out for the widest that both have."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 32), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 16), below: Device(part: "generic-gpu"))])])"##;
    TOO_MANY_PORTS "M0305" "A switch has more ports than its part"
        "The upstream port counts, and so do ports that software cannot see."
        wrong r##"(parts: [Switch(id: "small", description: "", pci: [(vendor: 1, device: 2)], ports: 3, total_lanes: 32, generation: 5, lanes: 16, max_payload: "512B", acs: None, latency: "100ns", buffers: (posted: (header: 64, data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})], cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 8), below: Switch(part: "small", ports: [(link: (lanes: 4), below: Device(part: "generic-gpu")), (link: (lanes: 4), below: Device(part: "generic-gpu")), (link: (lanes: 4), below: Device(part: "generic-gpu"))]))])])"##
        right r##"(parts: [Switch(id: "small", description: "", pci: [(vendor: 1, device: 2)], ports: 3, total_lanes: 32, generation: 5, lanes: 16, max_payload: "512B", acs: None, latency: "100ns", buffers: (posted: (header: 64, data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})], cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 8), below: Switch(part: "small", ports: [(link: (lanes: 8), below: Device(part: "generic-gpu")), (link: (lanes: 8), below: Device(part: "generic-gpu"))]))])])"##;
    TOO_MANY_LANES "M0306" "The links of a switch have more lanes than its part"
        "The lanes of all links of a switch, the upstream one included, are at most those of the chip. A \
         default link is as wide as both ends allow: give `lanes` to make it narrower."
        wrong r##"(parts: [Switch(id: "small", description: "", pci: [(vendor: 1, device: 2)], ports: 3, total_lanes: 32, generation: 5, lanes: 16, max_payload: "512B", acs: None, latency: "100ns", buffers: (posted: (header: 64, data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})], cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 8), below: Switch(part: "small", ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))]))])])"##
        right r##"(parts: [Switch(id: "small", description: "", pci: [(vendor: 1, device: 2)], ports: 3, total_lanes: 32, generation: 5, lanes: 16, max_payload: "512B", acs: None, latency: "100ns", buffers: (posted: (header: 64, data: 256), non_posted: (header: 64, data: 16), completion: (header: 64, data: 256)), sources: {})], cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (lanes: 8), below: Switch(part: "small", ports: [(link: (lanes: 8), below: Device(part: "generic-gpu")), (link: (lanes: 8), below: Device(part: "generic-gpu"))]))])])"##;
    LINK_STATED_TWICE "M0307" "Two statements about one link differ"
        "The link below a port is described by the port. A device states its own only when no port does."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 4), below: Device(part: "generic-gpu", link: (gen: 3)))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 4), below: Device(part: "generic-gpu"))])])"##;
    LINK_TO_NOTHING "M0308" "A link leads nowhere"
        "The port has a `link` but nothing `below`. An empty slot has no link; its port still exists."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (gen: 4))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    BAD_RETIMERS "M0309" "A link has too many retimers, or is too long"
        "The PCIe specification allows two retimers on a link. What each adds, and the time along the wires, are at most \
         1 us: a metre of cable takes 5 ns."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (retimers: 3), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (retimers: 2, propagation: "10ns"), below: Device(part: "generic-gpu"))])])"##;
    BAD_ERROR_RATE "M0310" "A link has too many bit errors"
        "With one wrong bit in 10,000 a large packet hardly ever arrives; more is not simulated. Working links have 1e-12 at \
         most up to 32 GT/s, and 1e-6 before error correction from 64 GT/s on."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (bit_error_rate: "1e-3"), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (bit_error_rate: "1e-9"), below: Device(part: "generic-gpu"))])])"##;
    BAD_ARBITRATION "M0311" "A switch cannot arbitrate like this"
        "A table of weighted round robin has at most 256 phases, of which every port has at least one. Weights are for the \
         upstream port and the downstream ports, in this order."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "generic-switch", arbitration: WeightedRoundRobin([1, 0]), ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "generic-switch", arbitration: WeightedRoundRobin([1, 3]), ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))]))])])"##;
    BAD_VIRTUAL_CHANNEL "M0312" "A link cannot be divided like this"
        "Virtual channel 1 has some of the traffic classes 1 to 7, each listed once, and a share of the receive buffers from \
         1 to 99 hundredths. Traffic class 0 always takes virtual channel 0."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (virtual_channel: (traffic_classes: [0, 7], buffers: 25)), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(link: (virtual_channel: (traffic_classes: [7], buffers: 25)), below: Device(part: "generic-gpu"))])])"##;
    CHIP_OF_TWO_PARTS "M0313" "Partitions of one switch chip are of different parts"
        "Switches with the same `chip` are virtual switches on one chip, which is one product."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "generic-switch", chip: "a", ports: [(below: Device(part: "generic-gpu"))])), (below: Switch(part: "pex88096", chip: "a", ports: [(below: Device(part: "generic-gpu"))]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "pex88096", chip: "a", ports: [(below: Device(part: "generic-gpu"))])), (below: Switch(part: "pex88096", chip: "a", ports: [(below: Device(part: "generic-gpu"))]))])])"##;
    NO_CXL "M0314" "No CPU can use the memory of a CXL device"
        "Memory of a device with `cxl` belongs to its CPU when all links between run CXL: they are below a root port of a CPU \
         with `cxl`, with at most one switch between that has `cxl` too, at 8 GT/s at least, and have no virtual channels. \
         Otherwise it is a PCIe device, whose memory nobody sees."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-cxl-memory"))])])"##
        right r##"(cpus: [(part: "intel-sapphire-rapids")], host_bridges: [(ports: [(below: Device(part: "generic-cxl-memory"))])])"##;
    BAR_NOT_POWER_OF_TWO "M0401" "The size of a BAR is not a power of two"
        "Software finds the size of a base address register by which address bits are wired to zero, so \
         only powers of two exist. A device with 80 GiB of memory has a BAR of 128 GiB, or a smaller one."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "80GiB", kind: Mem64Prefetch)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "128GiB", kind: Mem64Prefetch)]))])])"##;
    BAR_INDEX "M0402" "There is no such base address register"
        "A function has registers 0 to 5."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 6, size: "16MiB", kind: Mem32)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 5, size: "16MiB", kind: Mem32)]))])])"##;
    BAR_64BIT_LAST "M0403" "A 64-bit BAR does not fit at register 5"
        "A 64-bit BAR takes two registers, and 5 is the last."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 5, size: "16MiB", kind: Mem64)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 4, size: "16MiB", kind: Mem64)]))])])"##;
    BAR_REGISTER_TAKEN "M0404" "Two BARs use the same register"
        "A 64-bit BAR at register n uses n + 1 for the upper half of its address."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem64), (index: 1, size: "1MiB", kind: Mem32)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem64), (index: 2, size: "1MiB", kind: Mem32)]))])])"##;
    BAR_SIZE_RANGE "M0405" "A BAR of this kind cannot have this size"
        "Memory BARs have at least 16 bytes, 32-bit ones at most 2 GiB; I/O BARs have 4 to 256 bytes."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "4GiB", kind: Mem32)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "4GiB", kind: Mem64Prefetch)]))])])"##;
    BAR_ADDRESS "M0406" "A BAR cannot lie at this address"
        "The address is a multiple of the size, since the lower bits of the register do not exist, and a \
         32-bit BAR lies below 4 GiB."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem32, address: 0x8010_0000)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem32, address: 0x8100_0000)]))])])"##;
    BAR_NOT_RESIZABLE "M0407" "A BAR has a size that its Resizable BAR capability lacks"
        "Bit n of `resizable` stands for 2^n MiB. The present size must be among them."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "256MiB", kind: Mem64Prefetch, resizable: 0x10)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "256MiB", kind: Mem64Prefetch, resizable: 0x110)]))])])"##;
    BAD_READ_REQUEST "M0408" "Not a read request size"
        "Device Control has three bits for it: 128, 256, 512, 1024, 2048 or 4096 bytes."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", max_read_request: "8KiB"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", max_read_request: "4KiB"))])])"##;
    BAD_CLASS "M0409" "A class code has 24 bits"
        "Base class, subclass and programming interface, one byte each: 0x030200 is a 3D controller, \
         0x020000 an Ethernet controller, 0x010802 an NVMe drive."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", class: 0x0103_0200))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", class: 0x03_0200))])])"##;
    ACS_BEYOND_CAPABILITY "M0410" "ACS control bits are set that the function does not have"
        "A function can only switch on what its ACS capability word has: bits 0 to 6 are validation, \
         blocking, request redirect, completion redirect, upstream forwarding, egress control and direct \
         translated; bits 7 to 12 need the enhanced capability, bit 7."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(acs: (capability: 0x001f, control: 0x005d), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(acs: (capability: 0x005f, control: 0x005d), below: Device(part: "generic-gpu"))])])"##;
    BAR_ADDRESSES_OVERLAP "M0411" "Two BARs lie at the same address"
        "Below one host bridge a bus address belongs to one register."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem32, address: 0x8100_0000)])), (below: Device(part: "generic-gpu", bars: [(index: 0, size: "1MiB", kind: Mem32, address: 0x8180_0000)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem32, address: 0x8100_0000)])), (below: Device(part: "generic-gpu", bars: [(index: 0, size: "1MiB", kind: Mem32, address: 0x8280_0000)]))])])"##;
    BAR_OUTSIDE_WINDOWS "M0412" "The address of a BAR is in no window of its host bridge"
        "No request would reach it. The operating system will not keep such an address and chooses \
         another."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem32, address: 0xa000_0000)]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu", bars: [(index: 0, size: "16MiB", kind: Mem32, address: 0x8000_0000)]))])])"##;
    BAD_CONFIG "M0413" "A fact about configuration space cannot be"
        "`config` states what a capture shows of a function's registers: only values that registers can hold are \
         possible. Payload and request sizes are powers of two from 128 bytes to 4 KiB, expansion ROMs powers of two \
         from 2 KiB to 16 MiB, windows of bridges whole MiB (4 KiB for I/O), and a bridge's subordinate bus is not below \
         its secondary one."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(config: (command: 0x10), below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(config: (command: 0x7), below: Device(part: "generic-gpu"))])])"##;
    BAD_APERTURE "M0414" "A BAR cannot show memory like this"
        "A device whose largest memory BAR shows its memory by a table has pages of a power of two, from 4 KiB to \
         1 GiB, and at least one of them fits the BAR. A look-up takes 10 us at most."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", aperture: (page: "3MiB")))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", aperture: (page: "2MiB")))])])"##;
    WINDOWS_OVERLAP_CPU "M0501" "Two windows overlap as the CPU sees them"
        "Each CPU physical address leads to at most one host bridge, so windows of all host bridges are \
         apart. I/O ports are a space of their own."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))]), (windows: [(cpu: 0x8800_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))]), (windows: [(cpu: 0x9000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    WINDOWS_OVERLAP_BUS "M0502" "Two windows of a host bridge overlap on its buses"
        "Below one host bridge each bus address means one thing. Two host bridges may use the same bus \
         addresses."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32), (cpu: 0x9000_0000, bus: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32), (cpu: 0x9000_0000, bus: 0x9000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    WINDOW_NOT_ALIGNED "M0503" "A window is not aligned"
        "Windows begin and end at multiples of 4 KiB. Bridges below pass on whole MiB only, so a window \
         that does not begin and end at multiples of 1 MiB has an end that nothing below a bridge can \
         use; that is a warning, except for the legacy area below 1 MiB."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0800, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    WINDOW_EMPTY "M0504" "A window holds no address"
        "Its size is zero, or it runs beyond the end of the 64-bit address space."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "0B", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    WINDOW_BEYOND_CPU "M0505" "A window lies beyond what the CPU can address"
        "The part of the CPU says how many bits a physical address has."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000_0000, size: "1TiB", kind: Mem64Prefetch)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x3000_0000_0000, size: "1TiB", kind: Mem64Prefetch)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    WINDOW_BEYOND_32BIT "M0506" "A 32-bit window reaches above 4 GiB on the bus"
        "32-bit BARs can only hold bus addresses below 4 GiB. Give the window such a `bus` address, or a \
         64-bit kind. I/O windows end at port 0xffff."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x1_0000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x1000_0000_0000, bus: 0x8000_0000, size: "256MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    MEMORY_IN_WINDOW "M0507" "Host memory and a window share addresses"
        "Host memory of all CPUs is stacked from address 0, around the windows below 4 GiB, and on from 4\
          GiB up. A window above 4 GiB must lie above the memory."
        wrong r##"(cpus: [(part: "generic-cpu", memory: "512GiB")], host_bridges: [(windows: [(cpu: 0x20_0000_0000, size: "64GiB", kind: Mem64Prefetch)], ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu", memory: "512GiB")], host_bridges: [(windows: [(cpu: 0x200_0000_0000, size: "64GiB", kind: Mem64Prefetch)], ports: [(below: Device(part: "generic-gpu"))])])"##;
    MEMORY_BEYOND_CPU "M0508" "There is more memory than the CPU can address"
        "Host memory of all CPUs is stacked, and ends below the limit that the physical address bits of \
         the CPU set."
        wrong r##"(cpus: [(part: "generic-cpu", memory: "128TiB")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu", memory: "1TiB")], host_bridges: [(ports: [(below: Device(part: "generic-gpu"))])])"##;
    NO_ROOM_FOR_WINDOWS "M0509" "No room is left for the windows of a host bridge"
        "A host bridge without `windows` gets a share of the 32-bit area and of the upper quarter of the \
         physical address space. The windows that are given leave none."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "2028MiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))]), (ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(windows: [(cpu: 0x8000_0000, size: "1GiB", kind: Mem32)], ports: [(below: Device(part: "generic-gpu"))]), (ports: [(below: Device(part: "generic-gpu"))])])"##;
    DUPLICATE_ID "M0601" "Two functions have the same id"
        "Domain, bus, device and function number name one PCI function."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(id: "00:01.0", below: Device(part: "generic-gpu")), (id: "00:01.0", below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(id: "00:01.0", below: Device(part: "generic-gpu")), (id: "00:02.0", below: Device(part: "generic-gpu"))])])"##;
    WRONG_DOMAIN "M0602" "A function is in another domain than its host bridge"
        "All functions below a host bridge are in its PCI domain. Without `domain`, that of the first id \
         counts."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(domain: 0, ports: [(id: "0001:00:01.0", below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(domain: 1, ports: [(id: "0001:00:01.0", below: Device(part: "generic-gpu"))])])"##;
    BUS_DISAGREES "M0603" "Functions on one bus have different bus numbers"
        "All functions on a root bus have its number. All functions below one port, or below the upstream\
          port of one switch, share a bus."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(id: "00:01.0", below: Device(part: "generic-gpu")), (id: "01:02.0", below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(id: "00:01.0", below: Device(part: "generic-gpu")), (id: "00:02.0", below: Device(part: "generic-gpu"))])])"##;
    DEVICE_NOT_ZERO "M0604" "Only device 0 exists at the end of a link"
        "A link leads to one device, whose number is 0; its functions are .0 to .7."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", id: "01:02.0"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", id: "01:00.0"))])])"##;
    BUS_TAKEN "M0605" "Two buses have the same number"
        "Every link and every switch has a bus of its own, with a number that is used once in its domain."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", id: "01:00.0")), (below: Device(part: "generic-gpu", id: "01:00.0"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", id: "01:00.0")), (below: Device(part: "generic-gpu", id: "02:00.0"))])])"##;
    BUS_NOT_NESTED "M0606" "Bus numbers are not nested as the bridges are"
        "A bridge passes on one range of bus numbers, from its secondary to its subordinate bus: all \
         buses below it are in that range, above the number of the bus it is on, and no others are."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "generic-switch", id: "05:00.0", ports: [(below: Device(part: "generic-gpu", id: "03:00.0"))]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Switch(part: "generic-switch", id: "05:00.0", ports: [(below: Device(part: "generic-gpu", id: "07:00.0"))]))])])"##;
    BUS_OUTSIDE_BRIDGE "M0607" "A bus number is outside the range of its host bridge"
        "A host bridge owns the buses from `bus` to `bus_last`."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0x40, bus_last: 0x7f, ports: [(below: Device(part: "generic-gpu", id: "90:00.0"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0x40, bus_last: 0x7f, ports: [(below: Device(part: "generic-gpu", id: "50:00.0"))])])"##;
    NO_BUS_LEFT "M0608" "There are not enough bus numbers"
        "A domain has 256 buses. Every root bus, every link below a port and every switch takes one. Put \
         some host bridges into another `domain`, or leave more room between the ids that are given."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0x10, bus_last: 0x12, ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0x10, bus_last: 0x13, ports: [(below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu")), (below: Device(part: "generic-gpu"))])])"##;
    HOST_BRIDGES_SHARE_BUSES "M0609" "Two host bridges own the same bus"
        "Host bridges of a domain have ranges of bus numbers that are apart."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0, bus_last: 0x7f, ports: [(below: Device(part: "generic-gpu"))]), (bus: 0x40, ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0, bus_last: 0x3f, ports: [(below: Device(part: "generic-gpu"))]), (bus: 0x40, ports: [(below: Device(part: "generic-gpu"))])])"##;
    BUS_RANGE_EMPTY "M0610" "The last bus of a host bridge lies below its first"
        "`bus` is the number of the root bus, `bus_last` the highest below it."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0x40, bus_last: 0x3f, ports: [(below: Device(part: "generic-gpu"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(bus: 0x40, bus_last: 0x7f, ports: [(below: Device(part: "generic-gpu"))])])"##;
    NO_NUMBER_LEFT "M0611" "No number is left for a function"
        "A bus has devices 0 to 31, and a device functions 0 to 7. Put some below another host bridge or \
         switch, or make them another device."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", functions: [(), (), (), (), (), (), (), ()]))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", functions: [(), (), ()]))])])"##;
    NO_FUNCTION_ZERO "M0612" "A device without function 0 is not found"
        "An operating system looks for function 0 of each device first; when it does not answer, the \
         others are not looked for."
        wrong r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", id: "01:00.1"))])])"##
        right r##"(cpus: [(part: "generic-cpu")], host_bridges: [(ports: [(below: Device(part: "generic-gpu", id: "01:00.0", functions: [(id: "01:00.1")]))])])"##;
    SYNTHETIC "M0701" "Not a synthetic machine"
        "A synthetic machine is one line: levels from the root down, separated by `:`, each a count and \
         what there are: `rc` root complexes, `sw` switches, then devices `gpu`, `nic`, `ssd`, joined \
         with `+`. Every level is below each of the one before. `@gen4x8` sets all links, `/gpu=ID` a \
         part."
        wrong "2rc:2switch:4gpu"
        right "2rc:2sw:4gpu@gen5x16";
}
