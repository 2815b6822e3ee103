//! Machines for tests, put together by calls instead of files: no test here depends on the file format.

use std::collections::BTreeSet;

use peerbus_machine::Machine;
use peerbus_machine::model::*;
use peerbus_machine::part::*;
use peerbus_units::{Address, BitErrorRate, BusAddr, Bytes, CpuAddr, Picos, Range, Rate};
use petgraph::graph::Graph;

pub const MEM64: ResourceKind = ResourceKind::Mem64Prefetch;

/// Vendor, family and head of the root bus of a CPU.
#[derive(Clone, Copy)]
pub struct CpuModel {
    pub vendor: &'static str,
    pub family: u32,
    pub head: Option<(u16, u16)>,
}

pub const MILAN: CpuModel = CpuModel { vendor: "AuthenticAMD", family: 0x19, head: Some((0x1022, 0x1480)) };
pub const HASWELL: CpuModel = CpuModel { vendor: "GenuineIntel", family: 6, head: Some((0x8086, 0x2f00)) };
pub const ICE_LAKE: CpuModel = CpuModel { vendor: "GenuineIntel", family: 6, head: Some((0x8086, 0x09a2)) };
pub const UNLISTED: CpuModel = CpuModel { vendor: "GenuineIntel", family: 6, head: Some((0x8086, 0x29c0)) };

/// What one host bridge has: where bus addresses differ from CPU addresses, and how large its upper window is.
#[derive(Clone, Copy)]
pub struct HostSpec {
    pub offset: u64,
    pub upper: Bytes,
}

impl Default for HostSpec {
    fn default() -> HostSpec {
        HostSpec { offset: 0, upper: Bytes::gib(1 << 10) }
    }
}

fn rate() -> Rate {
    "32GB/s".parse().unwrap()
}

fn buffers() -> Buffers {
    let credits = Credits { header: 64, data: 256 };
    Buffers { posted: credits, non_posted: credits, completion: credits }
}

pub struct Build {
    pub machine: Machine,
    model: CpuModel,
}

impl Build {
    pub fn new(model: CpuModel) -> Build {
        let part = CpuPart {
            id: "test-cpu".into(),
            description: String::new(),
            vendor: model.vendor.into(),
            family: model.family,
            models: vec![1],
            physical_bits: 46,
            virtual_bits: None,
            host_bridges: 4,
            root_bus_head: model
                .head
                .map(|(vendor, device)| RootBusHead { id: PciId { vendor, device }, class: 0x060000 }),
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
            buffers: buffers(),
            sources: Sources::new(),
        };
        let cpu = Cpu { name: "cpu0".into(), part, memory: Bytes::gib(64), assumed: Facts::new() };
        let machine = Machine {
            name: "test".into(),
            source: String::new(),
            cpus: vec![cpu],
            cpu_links: vec![],
            host_bridges: vec![],
            switches: vec![],
            devices: vec![],
            links: vec![],
            functions: Graph::new(),
            interconnects: vec![],
            ntbs: vec![],
            capture: Capture::default(),
            assumed: Facts::new(),
        };
        Build { machine, model }
    }

    /// A host bridge with its head, a 1 GiB window below 4 GiB and one above.
    pub fn host(&mut self, spec: HostSpec) -> usize {
        let number = self.machine.host_bridges.len();
        let (low, high) = (0x8000_0000 + ((number as u64) << 30), 0x100_0000_0000 * (number as u64 + 1));
        let cpu = |first, size| Range::sized(CpuAddr(first), size).unwrap();
        let window = |first: u64, size, kind| Window {
            cpu: cpu(first, size),
            bus: BusAddr(first - if kind == ResourceKind::Mem32 { 0 } else { spec.offset }),
            kind,
        };
        self.machine.host_bridges.push(HostBridge {
            name: format!("host{number}"),
            cpu: 0,
            domain: 0,
            bus: u8::try_from(0x40 * number).unwrap(),
            bus_last: u8::try_from(0x40 * number + 0x3f).unwrap(),
            windows: vec![window(low, Bytes::mib(512), ResourceKind::Mem32), window(high, spec.upper, MEM64)],
            functions: vec![],
            placed: false,
            assumed: Facts::new(),
        });
        if let Some((vendor, device)) = self.model.head {
            let head = self.function(number, Role::RootBusHead, format!("host{number}/head"));
            self.machine.functions[head].pci = PciId { vendor, device };
            self.machine.functions[head].class = 0x060000;
            self.machine.host_bridges[number].functions.push(head);
        }
        number
    }

    fn function(&mut self, host_bridge: usize, role: Role, name: String) -> FunctionIndex {
        self.machine.functions.add_node(Function {
            name,
            id: None,
            host_bridge,
            role,
            pci: PciId { vendor: 0x8086, device: 0x347a },
            subsystem: PciId { vendor: 0, device: 0 },
            class: 0x060400,
            bars: vec![],
            acs: None,
            max_payload: Bytes(512),
            firmware: None,
            config: Config::default(),
            inserted: false,
            assumed: Facts::new(),
        })
    }

    pub fn root_port(&mut self, host: usize) -> FunctionIndex {
        let number = self.machine.host_bridges[host].functions.len();
        let port = self.function(host, Role::RootPort, format!("host{host}/rp{number}"));
        self.machine.functions[port].acs = Some(Acs { capability: 0x5f, control: 0 });
        self.machine.host_bridges[host].functions.push(port);
        port
    }

    fn link(&mut self, upper: FunctionIndex, lower: FunctionIndex) -> usize {
        self.machine.links.push(Link {
            name: self.machine.functions[lower].name.clone(),
            upper: Some(upper),
            hidden_below: None,
            lower,
            generation: 4,
            lanes: 16,
            propagation: Picos::ZERO,
            bit_errors: BitErrorRate::ZERO,
            virtual_channel: None,
            assumed: Facts::new(),
        });
        self.machine.links.len() - 1
    }

    /// A switch below `port` with `ports` downstream ports.
    pub fn switch(&mut self, port: FunctionIndex, ports: usize) -> Vec<FunctionIndex> {
        let (number, host) = (self.machine.switches.len(), self.machine.functions[port].host_bridge);
        let name = format!("{}/sw{number}", self.machine.functions[port].name);
        let upstream = self.function(host, Role::SwitchUpstream(number), name.clone());
        let link = self.link(port, upstream);
        self.machine.functions.add_edge(port, upstream, Attachment::Link(link));
        let downstream: Vec<_> = (0..ports)
            .map(|at| {
                let below = self.function(host, Role::SwitchDownstream(number), format!("{name}/p{at}"));
                self.machine.functions[below].acs = Some(Acs { capability: 0x5f, control: 0 });
                self.machine.functions.add_edge(upstream, below, Attachment::Internal);
                below
            })
            .collect();
        let part = SwitchPart {
            id: "test-switch".into(),
            description: String::new(),
            pci: vec![],
            ports: 32,
            total_lanes: 512,
            generation: 4,
            lanes: 16,
            max_payload: Bytes(512),
            acs: Some(0x5f),
            latency: Picos::nanos(100),
            store_and_forward: false,
            in_order: false,
            cxl: false,
            buffers: buffers(),
            sources: Sources::new(),
        };
        let arbitration = Arbitration::default();
        let switch = Switch {
            name,
            part,
            upstream,
            downstream: downstream.clone(),
            arbitration,
            assumed: Facts::new(),
        };
        self.machine.switches.push(switch);
        downstream
    }

    /// One more downstream port of the switch with that upstream port.
    pub fn free_port(&mut self, upstream: FunctionIndex) -> FunctionIndex {
        let Role::SwitchUpstream(switch) = self.machine.functions[upstream].role else {
            panic!("{} is no upstream port", self.machine.functions[upstream].name);
        };
        let (name, at) =
            (self.machine.switches[switch].name.clone(), self.machine.switches[switch].downstream.len());
        let host = self.machine.functions[upstream].host_bridge;
        let port = self.function(host, Role::SwitchDownstream(switch), format!("{name}/p{at}"));
        self.machine.functions.add_edge(upstream, port, Attachment::Internal);
        self.machine.switches[switch].downstream.push(port);
        port
    }

    /// A device below `port`, or on the root bus of `host` without one.
    pub fn device(
        &mut self,
        name: &str,
        host: usize,
        port: Option<FunctionIndex>,
        bars: &[Bar],
    ) -> FunctionIndex {
        let number = self.machine.devices.len();
        let above = port.map_or(format!("host{host}"), |port| self.machine.functions[port].name.clone());
        let function = self.function(host, Role::Endpoint(number), format!("{above}/{name}"));
        self.machine.functions[function].bars = bars.to_vec();
        self.machine.functions[function].class = 0x030200;
        self.machine.functions[function].pci = PciId { vendor: 0x10de, device: 0x2330 };
        let link = port.map(|port| {
            let link = self.link(port, function);
            self.machine.functions.add_edge(port, function, Attachment::Link(link));
            link
        });
        if port.is_none() {
            self.machine.host_bridges[host].functions.push(function);
        }
        let part = device_part();
        self.machine.devices.push(Device {
            name: name.into(),
            max_read_request: part.max_read_request,
            ordering: OrderingEnables::default(),
            aperture: None,
            part,
            functions: vec![function],
            memory: None,
            link,
            assumed: Facts::new(),
        });
        function
    }

    /// A GPU with a large BAR, below `port`.
    pub fn gpu(&mut self, name: &str, port: FunctionIndex, memory: Bytes) -> FunctionIndex {
        let bars = [bar(0, Bytes::mib(16), ResourceKind::Mem32), bar(1, memory, MEM64)];
        self.device(name, self.machine.functions[port].host_bridge, Some(port), &bars)
    }
}

pub fn bar(index: u8, size: Bytes, kind: ResourceKind) -> Bar {
    Bar { index, size, kind, resizable: None, address: None }
}

fn device_part() -> DevicePart {
    DevicePart {
        id: "test-gpu".into(),
        description: String::new(),
        kind: DeviceKind::Gpu,
        pci: vec![],
        class: 0x030200,
        generation: 5,
        lanes: 16,
        max_payload: Bytes(256),
        max_read_request: Bytes(512),
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
        buffers: buffers(),
        sources: Sources::new(),
    }
}

/// Two host bridges; on the first a switch with two GPUs and a port with a NIC, on the second a port with a GPU.
pub fn two_hosts(model: CpuModel, spec: HostSpec) -> Build {
    let mut build = Build::new(model);
    let (first, second) = (build.host(spec), build.host(spec));
    let port = build.root_port(first);
    let below = build.switch(port, 2);
    build.gpu("gpu0", below[0], Bytes::gib(64));
    build.gpu("gpu1", below[1], Bytes::gib(64));
    let port = build.root_port(first);
    build.device("nic0", first, Some(port), &[bar(0, Bytes::mib(32), MEM64)]);
    let port = build.root_port(second);
    build.gpu("gpu2", port, Bytes::gib(64));
    build
}

/// Where the CPU sees a bus address below host bridge `host`, by the description alone.
pub fn to_cpu(machine: &Machine, host: usize, bus: Range<BusAddr>) -> Option<CpuAddr> {
    let windows = machine.host_bridges[host].windows.iter();
    let mut hits = windows.filter(|window| {
        let side = Range::sized(window.bus, window.cpu.size());
        window.kind != ResourceKind::Io && side.is_some_and(|side| side.covers(bus))
    });
    hits.next().map(|window| CpuAddr(window.cpu.first().raw() + (bus.first().raw() - window.bus.raw())))
}

/// A set of the facts given.
pub fn facts(facts: &[Fact]) -> BTreeSet<Fact> {
    facts.iter().copied().collect()
}
