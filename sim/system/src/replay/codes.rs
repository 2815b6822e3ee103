//! Codes of what can be wrong with a replay: R01xx. Texts that cannot be read at all have the codes of
//! [`peerbus_machine::codes`], whose rules hold here too: codes are stable, and the tests load every example. The
//! machine of the examples, `m.ron`, has two adapters below one switch.

peerbus_machine::code_entries! {
    MISSING_FIELD "R0101" "A required field is missing"
        "A replay has calls, and most calls need a size, an address or an id. What has a default is described by \
         `peerbus schema replay`."
        wrong r##"(calls: [Pool(), AddChunk(base: 0x1000)])"##
        right r##"(calls: [Pool(), AddChunk(base: 0x1000, size: "1MiB")])"##;
    NO_CONSTRUCTOR "R0102" "A call comes before what it works on is made"
        "AddChunk, Alloc, Free and Avail work on the pool that the last Pool made; Busy, Request and Release on the \
         tree of addresses that the last Region made; calls of peer-to-peer DMA on what the last Machine booted on."
        wrong r##"(calls: [Avail])"##
        right r##"(calls: [Pool(), Avail])"##;
    UNKNOWN_ID "R0103" "No earlier call was given this id"
        "Free and Release name what an earlier Alloc or Request got, by the id that call was given. Constructors start \
         afresh: ids from before are forgotten. What a kernel does with an address it never gave out can be tried \
         with `Free(address: …, size: …)`."
        wrong r##"(calls: [Pool(), Alloc(id: 1, size: 1), Free(id: 2)])"##
        right r##"(calls: [Pool(), Alloc(id: 1, size: 1), Free(id: 1)])"##;
    NO_POWER_OF_TWO "R0104" "The value is no power of two"
        "Granules, sections and alignments are powers of two. The kernel's code computes with masks; for other \
         values it does nothing that could be called right."
        wrong r##"(calls: [Pool(granule: "3KiB")])"##
        right r##"(calls: [Pool(granule: "4KiB")])"##;
    ID_GIVEN_AGAIN "R0105" "An id is given again while it is in use"
        "From here on the id names the later allocation or region. The earlier one stays, and no call can give it \
         back by its id."
        wrong r##"(calls: [Pool(), Alloc(id: 1, size: 1), Alloc(id: 1, size: 1)])"##
        right r##"(calls: [Pool(), Alloc(id: 1, size: 1), Alloc(id: 2, size: 1)])"##;
    CONTRADICTION "R0106" "Two fields contradict each other"
        "One of the fields says all there is to say, and the other says something else."
        wrong r##"(calls: [Pool(), Alloc(size: 1, align: "8KiB", algorithm: BestFit)])"##
        right r##"(calls: [Pool(), Alloc(size: 1, align: "8KiB")])"##;
    REVERSED "R0107" "A range ends below its start"
        "Ranges are written with their first and their last address, both included."
        wrong r##"(calls: [Region(limit: 0xffff_ffff), Busy(first: 0x2000, last: 0x1fff)])"##
        right r##"(calls: [Region(limit: 0xffff_ffff), Busy(first: 0x2000, last: 0x2fff)])"##;
    OUT_OF_RANGE "R0108" "The value is out of range"
        "No such processor or kernel exists, so nothing follows from it."
        wrong r##"(calls: [Region(space: X86(levels: 6))])"##
        right r##"(calls: [Region(space: X86(levels: 5))])"##;
    WRONG_RESULT "R0109" "A recorded result belongs to no call"
        "Results name their call by its number, counted from 0, and stand in the order of the calls, one per call."
        wrong r##"(calls: [Pool(), Avail], results: [(call: 2, bytes: 0)])"##
        right r##"(calls: [Pool(), Avail], results: [(call: 1, bytes: 0)])"##;
    NO_MACHINE "R0110" "The machine's file cannot be read"
        "Paths are seen from the folder where the program runs, or else from the replay's own."
        wrong r##"(calls: [Machine(file: "absent.ron")])"##
        right r##"(calls: [Machine(file: "m.ron")])"##;
    BROKEN_MACHINE "R0111" "The machine cannot be used"
        "Its own problems are shown with their places in its file."
        wrong r##"(calls: [Machine(file: "broken.ron")])"##
        right r##"(calls: [Machine(file: "m.ron")])"##;
    UNKNOWN_FUNCTION "R0112" "The machine has no such function"
        "Functions are named by their address (`0000:01:00.0`), by the name of their device (`nic0`, its first \
         function), or by their path, as ports are. `peerbus plan` shows all of them."
        wrong r##"(calls: [Machine(file: "m.ron"), Register(function: "nic7")])"##
        right r##"(calls: [Machine(file: "m.ron"), Register(function: "nic0")])"##;
    UNKNOWN_WINDOW "R0113" "No host bridge has such a window"
        "Windows are named by the CPU address of their first byte, as the machine's file gives them or its firmware \
         chose them; `peerbus plan` shows them."
        wrong r##"(calls: [Machine(file: "m.ron"), SetWindow(cpu: 0x1, bus: 0x1)])"##
        right r##"(calls: [Machine(file: "m.ron"), SetWindow(cpu: 0x8000_0000, bus: 0x0)])"##;
}
