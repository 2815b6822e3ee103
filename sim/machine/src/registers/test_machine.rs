//! A small machine for tests, built by hand so that nothing but the model is needed.

use peerbus_units::{BitErrorRate, Bytes, Picos, Rate};
use petgraph::graph::Graph;

use crate::model::*;
use crate::part::*;

/// 64-bit prefetchable.
pub(super) const MEMORY64: ResourceKind = ResourceKind::Mem64Prefetch;

fn credits() -> Buffers {
    let credits = Credits { header: 64, data: 256 };
    Buffers { posted: credits, non_posted: credits, completion: credits }
}

fn rate() -> Rate {
    "10GB/s".parse().unwrap()
}

fn cpu() -> Cpu {
    let part = CpuPart {
        id: "cpu".into(),
        description: String::new(),
        vendor: "GenuineIntel".into(),
        family: 6,
        models: vec![106],
        physical_bits: 46,
        virtual_bits: None,
        host_bridges: 2,
        root_bus_head: None,
        root_port: PciId { vendor: 0x8086, device: 0x347a },
        generation: 5,
        lanes: 16,
        max_payload: Bytes(512),
        acs: Some(0x5f),
        read_completion_boundary: Bytes(64),
        root_port_rate: None,
        peer_to_peer: true,
        root_port_latency: Picos::nanos(100),
        core: None,
        page_structs: None,
        network_latency: Picos::nanos(50),
        host_bridge_rate: rate(),
        memory_latency: Picos::nanos(90),
        iommu: None,
        cache: None,
        peer_limits: None,
        cxl: None,
        memory_write_rate: None,
        reads_in_turn: None,
        memory_rate: rate(),
        buffers: credits(),
        sources: Sources::new(),
    };
    Cpu { name: "cpu0".into(), part, memory: Bytes::gib(64), assumed: Facts::new() }
}

fn device(name: &str, functions: Vec<FunctionIndex>, link: Option<usize>) -> Device {
    let part = DevicePart {
        id: "device".into(),
        description: String::new(),
        kind: DeviceKind::Gpu,
        pci: vec![],
        class: 0x030200,
        generation: 5,
        lanes: 16,
        max_payload: Bytes(256),
        max_read_request: Bytes(4096),
        tags: 64,
        bars: vec![],
        memory: None,
        acs: None,
        write_rate: rate(),
        read_rate: rate(),
        completion_timeout: None,
        request_latency: Picos::nanos(10),
        nvme: None,
        dma: None,
        atc: None,
        cxl: None,
        aperture: None,
        ntb: None,
        reads_in_turn: None,
        completer_latency: Picos::nanos(200),
        memory_rate: rate(),
        buffers: credits(),
        sources: Sources::new(),
    };
    let max_read_request = part.max_read_request;
    Device {
        name: name.into(),
        part,
        functions,
        memory: None,
        link,
        max_read_request,
        ordering: OrderingEnables::default(),
        aperture: None,
        assumed: Facts::new(),
    }
}

fn switch(upstream: FunctionIndex, downstream: Vec<FunctionIndex>) -> Switch {
    let part = SwitchPart {
        id: "switch".into(),
        description: String::new(),
        pci: vec![],
        ports: 8,
        total_lanes: 96,
        generation: 4,
        lanes: 16,
        max_payload: Bytes(512),
        acs: Some(0x7f),
        latency: Picos::nanos(100),
        store_and_forward: false,
        in_order: false,
        cxl: false,
        buffers: credits(),
        sources: Sources::new(),
    };
    Switch {
        name: "sw0".into(),
        part,
        upstream,
        downstream,
        arbitration: Arbitration::default(),
        assumed: Facts::new(),
    }
}

pub(super) fn function(name: &str, role: Role, device: u16) -> Function {
    Function {
        name: name.into(),
        id: None,
        host_bridge: 0,
        role,
        pci: PciId { vendor: 0x1234, device },
        subsystem: PciId { vendor: 0x5678, device: 1 },
        class: 0x060400,
        bars: vec![],
        acs: None,
        max_payload: Bytes(512),
        firmware: None,
        config: Config::default(),
        inserted: false,
        assumed: Facts::new(),
    }
}

fn bar(index: u8, size: Bytes, kind: ResourceKind) -> Bar {
    Bar { index, size, kind, resizable: None, address: None }
}

/// Functions of [`machine`], by what they are.
pub(super) struct Indices {
    pub(super) head: FunctionIndex,
    pub(super) root_port: FunctionIndex,
    pub(super) upstream: FunctionIndex,
    pub(super) downstream: Vec<FunctionIndex>,
    pub(super) gpu: FunctionIndex,
    pub(super) gpu_audio: FunctionIndex,
    pub(super) nic: FunctionIndex,
    pub(super) accelerator: FunctionIndex,
}

/// Host bridge 0 has a head, a root port with a switch, a two-function GPU and a NIC below it, and an integrated
/// device; host bridge 1 (bus 0x80) has nothing.
pub(super) fn machine() -> (Machine, Indices) {
    let mut functions = Graph::new();
    let mut add = |name, role, id| functions.add_node(function(name, role, id));
    let head = add("host0/head", Role::RootBusHead, 0x09a2);
    let root_port = add("host0/rp0", Role::RootPort, 0x347a);
    let upstream = add("host0/rp0/sw0", Role::SwitchUpstream(0), 0xc010);
    let downstream = vec![
        add("host0/rp0/sw0/p0", Role::SwitchDownstream(0), 0xc011),
        add("host0/rp0/sw0/p1", Role::SwitchDownstream(0), 0xc011),
    ];
    let gpu = add("host0/rp0/sw0/p0/gpu0", Role::Endpoint(0), 0x2330);
    let gpu_audio = add("host0/rp0/sw0/p0/gpu0.1", Role::Endpoint(0), 0x2331);
    let nic = add("host0/rp0/sw0/p1/nic0", Role::Endpoint(1), 0x101b);
    let accelerator = add("host0/acc0", Role::Endpoint(2), 0x0b25);
    functions[head].class = 0x088000;
    functions[gpu].max_payload = Bytes(256);
    functions[gpu].bars = vec![
        bar(0, Bytes::mib(16), ResourceKind::Mem32),
        Bar { resizable: Some(0x3ff0), ..bar(1, Bytes::gib(8), MEMORY64) },
        bar(3, Bytes::mib(32), ResourceKind::Mem64),
        bar(5, Bytes(128), ResourceKind::Io),
    ];
    functions[nic].bars = vec![bar(0, Bytes::mib(2), ResourceKind::Mem32Prefetch)];
    functions[root_port].acs = Some(Acs { capability: 0x5f, control: 0x1d });
    functions[downstream[0]].acs = Some(Acs { capability: 0x207f, control: 0 });
    functions.add_edge(root_port, upstream, Attachment::Link(0));
    functions.add_edge(upstream, downstream[0], Attachment::Internal);
    functions.add_edge(upstream, downstream[1], Attachment::Internal);
    functions.add_edge(downstream[0], gpu, Attachment::Link(1));
    functions.add_edge(downstream[0], gpu_audio, Attachment::Link(1));
    functions.add_edge(downstream[1], nic, Attachment::Link(2));
    let link = |upper, lower, generation, lanes| Link {
        name: String::new(),
        upper: Some(upper),
        hidden_below: None,
        lower,
        generation,
        lanes,
        propagation: Picos::ZERO,
        bit_errors: BitErrorRate::ZERO,
        virtual_channel: None,
        assumed: Facts::new(),
    };
    let host_bridge = |name: &str, bus, bus_last, functions| HostBridge {
        name: name.into(),
        cpu: 0,
        domain: 0,
        bus,
        bus_last,
        windows: vec![],
        functions,
        placed: false,
        assumed: Facts::new(),
    };
    let machine = Machine {
        name: "test".into(),
        source: String::new(),
        cpus: vec![cpu()],
        cpu_links: vec![],
        host_bridges: vec![
            host_bridge("host0", 0, 0x7f, vec![head, root_port, accelerator]),
            host_bridge("host1", 0x80, 0xff, vec![]),
        ],
        switches: vec![switch(upstream, downstream.clone())],
        devices: vec![
            device("gpu0", vec![gpu, gpu_audio], Some(1)),
            device("nic0", vec![nic], Some(2)),
            device("acc0", vec![accelerator], None),
        ],
        links: vec![
            link(root_port, upstream, 4, 16),
            link(downstream[0], gpu, 4, 8),
            link(downstream[1], nic, 3, 12),
        ],
        functions,
        interconnects: vec![],
        ntbs: vec![],
        capture: Capture::default(),
        assumed: Facts::new(),
    };
    (machine, Indices { head, root_port, upstream, downstream, gpu, gpu_audio, nic, accelerator })
}
