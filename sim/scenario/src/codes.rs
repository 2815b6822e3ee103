//! Codes of what can be wrong with a scenario: S01xx workloads and names; S02xx machines; S03xx expectations;
//! S04xx sweeps, S05xx measured values.
//!
//! Texts that cannot be read at all have the codes of [`peerbus_machine::codes`], as machine files do. The rules
//! of that catalogue hold: codes are stable, and the tests load every example. The machine of the examples, `m.ron`,
//! has two GPUs, an SSD and both sides of a bridge below one switch, and a device on the root bus. One GPU, `gpu1`, shows its
//! memory in pages of 64 KiB.

use peerbus_machine::codes::Entry;

/// The entry of `code`, in upper or lower case: one of this crate or of [`peerbus_machine::codes`].
pub fn explain(code: &str) -> Option<&'static Entry> {
    let own = ENTRIES.iter().find(|entry| entry.code.0.eq_ignore_ascii_case(code));
    own.or_else(|| peerbus_machine::codes::explain(code))
}

peerbus_machine::code_entries! {
    MISSING_FIELD "S0101" "A required field is missing"
        "A scenario needs a machine; a workload needs a name, the devices it runs between and how much it moves. \
         Everything else has a default, which the schema describes."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "peer", from: "gpu0", to: "gpu1")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "peer", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    NO_WORKLOADS "S0102" "There is nothing to run"
        "A scenario has at least one workload. With variants, each of them has: its own or those of the file. Only a \
         scenario with expectations may do without: it asks how the machine comes up, as \
         `error.UNPLACED_BAR.count == 0` does."
        wrong r##"(machine: "m.ron")"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "peer", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    WRONG_NAME "S0103" "A name cannot be used in conditions"
        "Names of workloads and variants become parts of conditions, where `.`, `/`, `*` and blanks have a \
         meaning. They consist of letters, digits, `-` and `_`."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a/b", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a-b", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    DUPLICATE_NAME "S0104" "Two things have the same name"
        "Reports and conditions tell workloads, and variants, by their names. The sizes of one HostDma are part of \
         its flows' names, so they differ too."
        wrong r##"(machine: "m.ron", variants: [(name: "x"), (name: "x")], workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", variants: [(name: "x"), (name: "y")], workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    UNKNOWN_DEVICE "S0105" "The machine has no such device"
        "Devices are named by their short name (`gpu0`) or their path (`host0/rp0/sw0/p1/gpu0`); `*` stands for any \
         characters. `peerbus plan` lists the devices of a machine."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu7", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    SEVERAL_DEVICES "S0106" "One device belongs here, and several are named"
        "A copy has one source and one destination, and a HostDma one device. PairMatrix and AllToAll take any \
         number of devices."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "*", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "*1", bytes: "1MiB")])"##;
    SAME_DEVICE "S0107" "Source and destination are the same device"
        "A copy inside a device crosses no link, so there is nothing to simulate."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu0", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    TOO_FEW_DEVICES "S0108" "Pairs need two devices"
        "PairMatrix and AllToAll run between every two of their devices; their patterns must name two at least."
        wrong r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu0"], bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")])"##;
    NO_LINK "S0109" "The device has no link"
        "A device on a root bus is part of the CPU. It has no PCIe link that traffic could cross."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "inside0", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    NO_MEMORY_BAR "S0110" "The device has no memory that others can reach"
        "Peers reach a device's memory through a base address register. The end that does not move the data (the \
         destination for `engine: Writer`, the source for `Reader`) needs one, unless `refused: Stage` sends the \
         data through host memory."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "mute0", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "mute0", to: "gpu0", bytes: "1MiB")])"##;
    WRONG_SIZE "S0111" "The size is out of range"
        "`bytes` is 1 B to 1 PiB and `chunk` 1 B to 1 GiB. Transfers of a HostDma have 1 B to 4 MiB, and one size \
         at least is needed, and its `window` has 1 B to 4 GiB and room for a transfer. `dma_shift` is at most 1 PiB, so that shifted addresses stay within 64 bits. Requests of \
         a PeerMemory have 1 B to 64 GiB, and its `Align` is a power of two."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: 0)])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1B")])"##;
    WRONG_COUNT "S0112" "The number is out of range"
        "A HostDma makes at least one transfer of each size, has 1 to 4096 of them under way, and moves at most \
         1 PiB per size. A client of a PeerMemory makes 1 to 10,000,000 requests and holds 1 to 4096 allocations; \
         BARs are numbered from 0 to 5. The share of `Flat` is 1 to 1,000,000 parts per million."
        wrong r##"(machine: "m.ron", workloads: [HostDma(name: "a", device: "ssd0", direction: Read, sizes: ["4KiB"], transfers: 0)])"##
        right r##"(machine: "m.ron", workloads: [HostDma(name: "a", device: "ssd0", direction: Read, sizes: ["4KiB"], transfers: 100)])"##;
    UNKNOWN_CPU "S0113" "The machine has no such CPU"
        "`cpu` is an index into the machine's CPUs, from 0. Without it, the memory of the device's own CPU is used."
        wrong r##"(machine: "m.ron", workloads: [HostDma(name: "a", device: "ssd0", direction: Read, sizes: ["4KiB"], cpu: 4)])"##
        right r##"(machine: "m.ron", workloads: [HostDma(name: "a", device: "ssd0", direction: Read, sizes: ["4KiB"], cpu: 0)])"##;
    WRONG_TIME "S0114" "The time is out of range"
        "Simulated time is counted in picoseconds and a run starts at 0; a flow that starts later than 1000 s is \
         a mistake in the unit. The intervals and lifetimes of a PeerMemory's client take ten days at most."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB", start: "5000s")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB", start: "5us")])"##;
    CONTRADICTION "S0115" "The kernel is told two different things"
        "`iommu`, `acs` and `mps` are shorthands for words of the kernel's command line. Where `cmdline` speaks of \
         the same thing, both must say the same: which of them would hold is not for us to choose."
        wrong r##"(machine: "m.ron", kernel: (mps: Safe, cmdline: "pci=pcie_bus_perf"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", kernel: (cmdline: "pci=pcie_bus_perf"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    ACS_LIST "S0116" "A list of functions on the command line cannot be read"
        "`pci=disable_acs_redir=` and `pci=config_acs=` take functions separated by `;`: `[DOMAIN:]BUS:DEV.FN`, with \
         `/DEV.FN` for each step further down, or `pci:VENDOR:DEVICE[:SUBVENDOR:SUBDEVICE]` where 0 fits any. In \
         `config_acs` every function has its bits and `@` in front: up to seven of 0, 1 and x, the right-most is source \
         validation. A kernel logs the mistake and applies nothing from there on."
        wrong r##"(machine: "m.ron", kernel: (cmdline: "pci=config_acs=01:00.0"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", kernel: (cmdline: "pci=config_acs=0000000@01:00.0"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    NO_EFFECT "S0117" "The kernel ignores this"
        "Not every kernel knows every option: `config_acs` came after Linux 6.1. A kernel ignores what it does not \
         know, and so does the run; this is a warning."
        wrong r##"(machine: "m.ron", kernel: (profile: Linux_6_1, cmdline: "pci=config_acs=x@01:00.0"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", kernel: (profile: Linux_6_12, cmdline: "pci=config_acs=x@01:00.0"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    WRONG_DISTRIBUTION "S0118" "Nothing can be drawn from the distribution"
        "`Uniform` goes from the smaller value to the larger one; `Choice` and `Zipf` draw from 1 to 1024 values, of \
         which one at least has a weight above 0; the exponent of `Zipf` is 1 to 4."
        wrong r##"(machine: "m.ron", workloads: [PeerMemory(name: "a", providers: [(device: "gpu1")], clients: ["gpu0"], sizes: Uniform("64KiB", "4KiB"), lifetimes: Fixed("1us"), intervals: Fixed("1us"))])"##
        right r##"(machine: "m.ron", workloads: [PeerMemory(name: "a", providers: [(device: "gpu1")], clients: ["gpu0"], sizes: Uniform("4KiB", "64KiB"), lifetimes: Fixed("1us"), intervals: Fixed("1us"))])"##;
    NOT_SIMULATED "S0119" "What the kernel would do is not simulated"
        "`pci=nocrs` makes a PC's kernel forget the windows of its host bridges and use all ports and addresses. Here they \
         are always those of the machine file; such a machine is described by writing the wide windows there."
        wrong r##"(machine: "m.ron", kernel: (cmdline: "pci=nocrs"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", kernel: (cmdline: "pci=use_crs"), workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    WRONG_EVENT "S0120" "This cannot happen to a link or device"
        "LinkDown, LinkUp, Downgrade, ErrorRate and LeakCredits happen to a `link`, SurpriseRemove and StopCompleting to a \
         `device`. A downgrade keeps within the generation and lanes that the link has; bit error rates are at most 1e-4; \
         only error rates and leaks can be of one direction, `:up` or `:down`."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], events: [(at: "1us", link: "gpu0", what: ErrorRate("0.5"))])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], events: [(at: "1us", link: "gpu0", what: LinkDown)])"##;
    UNKNOWN_LINK "S0121" "The machine has no such link"
        "A link is named by the path of its lower end, such as `host0/rp0/sw0` or `host0/rp0/sw0/p1/gpu0`, or by the short \
         name of the device there. Reports name links so, with `:up` or `:down` behind it."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], events: [(at: "1us", link: "gpu7", what: LinkDown)])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], events: [(at: "1us", link: "gpu1", what: LinkDown)])"##;
    NO_CXL_MEMORY "S0122" "No CPU uses the memory of the device by CXL"
        "`region: HostManaged` of a CpuAccess and `memory` of a HostDma name a device whose part has `cxl`, below a root port \
         of a CPU whose part has it too, where its memory is the CPU's."
        wrong r##"(machine: "m.ron", workloads: [CpuAccess(name: "a", device: "gpu0", region: HostManaged, kind: Load, sizes: ["64B"])])"##
        right r##"(machine: "m.ron", workloads: [CpuAccess(name: "a", device: "gpu0", region: Bar, kind: Load, sizes: ["64B"])])"##;
    WRONG_APERTURE "S0123" "A BAR cannot show this"
        "Devices with `aperture` in the machine file show their memory by a table of pages: `from` a place of the memory on, \
         or `runs` of pages. All of it is in multiples of the device's page, lies in the BAR and in the memory, and no page \
         of the BAR shows two."
        wrong r##"(machine: "m.ron", apertures: [(device: "gpu1", from: "100KiB")], workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", apertures: [(device: "gpu1", from: "128KiB")], workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    WRONG_BRIDGE "S0124" "This is no way through a non-transparent bridge"
        "`through` and `ntbs` name a device that is one side of a bridge: `ntbs` of the machine file says which are. A table \
         of requesters holds as many as the part says. Staging needs memory that both hosts reach, which they do not have."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB", through: "ssd0")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB", through: "side-a")])"##;
    NO_PRIVATE_LINK "S0125" "The CPU shares no private interconnect with the device"
        "`region: Private` of a CpuAccess is for devices and CPUs that are members of one private interconnect: \
         `interconnects` of the machine file says which are. Other cores reach the device's BAR."
        wrong r##"(machine: "m.ron", workloads: [CpuAccess(name: "a", device: "gpu0", region: Private, kind: Load, sizes: ["64B"])])"##
        right r##"(machine: "m.ron", workloads: [CpuAccess(name: "a", device: "gpu0", region: Bar, kind: Load, sizes: ["64B"])])"##;
    UNKNOWN_RANGE "S0126" "The workload has no such range"
        "An activity of a SharedVirtual uses one of the workload's `ranges`, by name."
        wrong r##"(machine: "m.ron", workloads: [SharedVirtual(name: "a", ranges: [(name: "data", bytes: "2MiB")], phases: [[(name: "fill", by: "cpu0", range: "date")]])])"##
        right r##"(machine: "m.ron", workloads: [SharedVirtual(name: "a", ranges: [(name: "data", bytes: "2MiB")], phases: [[(name: "fill", by: "cpu0", range: "data")]])])"##;
    WRONG_TARGET "S0127" "The NVMe target cannot be like this"
        "The namespace of a target is stored on an NVMe drive. Which memory a request gets, on whose behalf, and what happens to \
         requests that get none is decided as the kernel does: `choose`, `user` and `refused` are left out."
        wrong r##"(machine: "m.ron", workloads: [PeerMemory(name: "a", target: (namespace: "gpu1", memory: Off), clients: ["gpu0"], sizes: Fixed("4KiB"), lifetimes: Fixed("1us"), intervals: Fixed("1us"))])"##
        right r##"(machine: "m.ron", workloads: [PeerMemory(name: "a", target: (namespace: "ssd0", memory: Off), clients: ["gpu0"], sizes: Fixed("4KiB"), lifetimes: Fixed("1us"), intervals: Fixed("1us"))])"##;
    NOT_ITS_FIELD "S0128" "The field does not belong there"
        "In a SharedBuffer, GPUs move their buffers (`places`, `compressed`, `asleep`, `moves`) and VFIO exports BARs and \
         revokes them (`region`, `offset`, `memory_disabled`, `revokes`). Only importers of the kind `Gpu` choose `peer2peer`."
        wrong r##"(machine: "m.ron", workloads: [SharedBuffer(name: "a", bytes: "1MiB", exporter: (device: "gpu0", revokes: (every: "1ms")), importers: [(name: "b", device: "gpu1")])])"##
        right r##"(machine: "m.ron", workloads: [SharedBuffer(name: "a", bytes: "1MiB", exporter: (device: "gpu0", moves: (every: "1ms")), importers: [(name: "b", device: "gpu1")])])"##;
    OTHER_DRIVER "S0129" "Two choices of a SharedVirtual exclude each other"
        "A granule is amdkfd's choice, a time slice that of xe; pages are pinned or asked for, not both; pages can belong to a \
         CPU or to one of the workload's GPUs."
        wrong r##"(machine: "m.ron", workloads: [SharedVirtual(name: "a", ranges: [(name: "data", bytes: "2MiB")], gpus: [(device: "gpu0", driver: Xe, granule: "64KiB")], phases: [[(name: "use", by: "gpu0", range: "data")]])])"##
        right r##"(machine: "m.ron", workloads: [SharedVirtual(name: "a", ranges: [(name: "data", bytes: "2MiB")], gpus: [(device: "gpu0", driver: Amdkfd, granule: "64KiB")], phases: [[(name: "use", by: "gpu0", range: "data")]])])"##;
    MACHINE_MISSING "S0201" "The machine file cannot be read"
        "A machine is named by the path of its file, seen from where the program runs or from the scenario file, or \
         is a synthetic form such as `2rc:2sw:4gpu@gen5x16`."
        wrong r##"(machine: "absent.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    MACHINE_BROKEN "S0202" "The machine has problems"
        "The scenario's machine could be read, but not used. Its own problems are reported beside this one."
        wrong r##"(machine: "broken.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")])"##;
    CONDITION_SYNTAX "S0301" "The condition is not understood"
        "A condition compares two values, `flow.NAME.throughput >= 24GB/s`, with ==, !=, <, <=, >, >=, contains, or \
         `a ~ b within 5%`. A number may stand before a value, `0.9 * flow.NAME.throughput`. One side at least is \
         measured by the run."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.throughput => 1GB/s"])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.throughput >= 1GB/s"])"##;
    CONDITION_VALUE "S0302" "No such value is measured"
        "Flows have throughput, latency.mean, latency.p50, latency.p99, bytes, delivered, refused, duration, start, \
         end, map_type, distance, dma_kind, dma_addr, refusal, staged, limited_by and path; matrices have min, max and mean of their flows' \
         throughputs; workloads on peer memory have requests, granted, staged, refused, refused.CAUSE, throughput, \
         wait.p50 and wait.p99, and they and their pools (`pool.NAME.PROVIDER`) size, peak, largest_hole and \
         fragmentation; spaces of a kind (`space.KIND`) size, used, largest_hole, alignment, granule, fragmentation, refused and \
         decided; kinds of errors have count and bytes, and `errors` counts them all."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.speed >= 1GB/s"])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.throughput >= 1GB/s"])"##;
    CONDITION_KINDS "S0303" "These values cannot be compared"
        "Both sides must be of the same kind: rates with rates, times with times, sizes with sizes. Texts are equal, \
         unequal, or contain another; lists contain a text."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.throughput >= 24"])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.throughput >= 24GB/s"])"##;
    CONDITION_NAME "S0304" "The scenario makes no such flow or pool"
        "A copy makes a flow of its name; PairMatrix and AllToAll make `NAME.FROM.TO`, HostDma `NAME.SIZE`, with \
         `.read` and `.write` behind it for ReadWrite; PeerMemory makes `NAME.CLIENT.PROVIDER`, `NAME.CLIENT.host` and \
         `NAME.host.PROVIDER` (with a target also `NAME.DRIVE.PROVIDER`), and pools `NAME` and `NAME.PROVIDER`. A variant stands in front, `VARIANT/NAME`; without it, all \
         variants are meant. `*` stands for any characters. A kind of error or space must be one that runs report."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.b.refused == 0B"])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], expect: ["flow.a.refused == 0B"])"##;
    CONDITION_PAIRS "S0305" "The sides of the condition do not fit each other"
        "Where both sides name several flows, those are compared whose `*` stand for the same, and those without a \
         variant in the same variant. Each side must have as many `*`, and every flow a counterpart."
        wrong r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")], expect: ["flow.a.*.*.bytes == flow.a.*.bytes"])"##
        right r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")], expect: ["flow.a.*.bytes == flow.a.*.delivered"])"##;
    SWEEP_PATH "S0401" "The sweep has a path that leads nowhere"
        "A path consists of fields with dots between them. `[0]` is an element of a list and `[*]` every one; `**` is \
         everything below that has the next field. It begins with a field of the scenario, or with `machine.` for the \
         machine file. The names of choices such as `Copy` are left out."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {"kernel.asc": [Off, On]})"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {"kernel.acs": [Off, On]})"##;
    SWEEP_VALUE "S0402" "The sweep has a value that does not belong there"
        "Each value of a sweep is tried in place of what the files say, and must be right there. Values are numbers, texts, \
         names and truths."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {"workloads[0].to": ["gpu1", "gpu7"]})"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {"workloads[0].bytes": ["1MiB", "2MiB"]})"##;
    SWEEP_SIZE "S0403" "The sweep has no points, or too many"
        "Every combination of the values is a point. Each path has one value at least, and there are at most 100,000 \
         points."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {"seed": []})"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], sweep: {"seed": [1, 2]})"##;
    MEASURED_UNIT "S0501" "The unit of a measured value does not fit"
        "A measured value is a rate (GB/s, MB/s, GiB/s, MiB/s, Gbit/s) or a time (ns, us, ms), as is what it is `of`, and \
         what it `includes`."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], measured: [(of: "flow.a.throughput", value: 24, unit: "ns")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], measured: [(of: "flow.a.throughput", value: 24, unit: "GB/s")])"##;
    MEASURED_HOW "S0502" "Several values cannot be compared with one"
        "What a measured value is `of` stands for one flow, or `how` says how several make one: `Total` (bytes of all over the \
         time they took, of flows of one variant), `Mean`, `Min` or `Max`."
        wrong r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")], measured: [(of: "flow.a.*.throughput", value: 24, unit: "GB/s")])"##
        right r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")], measured: [(of: "flow.a.*.throughput", how: Mean, value: 24, unit: "GB/s")])"##;
    MEASURED_FILE "S0503" "Measured values cannot be read from the file"
        "`measured_from` takes JSON files of nvbandwidth and the name of one of their test cases, whose matrix has a number at \
         least. Paths are seen from where the program runs, or else from the scenario file."
        wrong r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")], measured_from: [(file: "absent.json", testcase: "d2d", of: "flow.a.gpu{row}.gpu{column}.throughput")])"##
        right r##"(machine: "m.ron", workloads: [PairMatrix(name: "a", devices: ["gpu*"], bytes: "1MiB")], measured_from: [(file: "nvbandwidth.json", testcase: "d2d", of: "flow.a.gpu{row}.gpu{column}.throughput")])"##;
    MEASURED_ROW "S0504" "A row of measured values is not usable"
        "The value is above 0 and above what it `includes`. `row` is a line of the table, counted from 1; only rows that are \
         left out are named together, as `2-25, 30`."
        wrong r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], measured: [(of: "flow.a.throughput", value: 0, unit: "GB/s")])"##
        right r##"(machine: "m.ron", workloads: [Copy(name: "a", from: "gpu0", to: "gpu1", bytes: "1MiB")], measured: [(left_out: "no such device", row: "2-25, 30")])"##;
}
