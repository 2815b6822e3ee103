//! Machines for tests, with every address programmed as firmware would: no operating system is needed.

use peerbus_machine::model::*;
use peerbus_machine::part::*;
use peerbus_machine::{Machine, Registers};
use peerbus_units::{BitErrorRate, BusAddr, Bytes, CpuAddr, FunctionId, Picos, Range};
use petgraph::graph::Graph;

/// What a test may want different from the default.
#[derive(Clone, Debug)]
pub struct Shape {
    /// CPU packages, linked in a ring; host bridges belong to them in turn.
    pub cpus: usize,
    /// Host bridges.
    pub roots: usize,
    /// Switches below each host bridge, each below its own root port; 0: devices directly below root ports.
    pub switches: usize,
    /// Devices below each switch, or below each host bridge when there are no switches.
    pub devices: usize,
    /// Generation of all links.
    pub generation: u8,
    /// Lanes of all links.
    pub lanes: u8,
    /// Header credits of every finite buffer; data credits are 16 times as many.
    pub credits: u16,
    /// Tags of devices.
    pub tags: u16,
    /// Rate of DMA engines.
    pub engine_rate: &'static str,
    /// Rate of device memories.
    pub memory_rate: &'static str,
    /// ACS control word of all ports that have a function above a device.
    pub acs_control: u16,
    /// Bus addresses are CPU addresses minus this.
    pub bus_offset: u64,
    /// Second virtual channel of every link.
    pub virtual_channel: Option<VirtualChannel>,
    /// Orderings that devices may ask for.
    pub ordering: OrderingEnables,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            cpus: 1,
            roots: 1,
            switches: 1,
            devices: 2,
            generation: 4,
            lanes: 16,
            credits: 128,
            tags: 256,
            engine_rate: "100GB/s",
            memory_rate: "500GB/s",
            acs_control: 0,
            bus_offset: 0,
            virtual_channel: None,
            ordering: OrderingEnables::default(),
        }
    }
}

/// Size of every device's BAR.
pub const BAR: u64 = 4 << 30;
/// CPU address of the first BAR of a host bridge.
pub const WINDOW: u64 = 1 << 40;

fn buffers(credits: u16, infinite_completions: bool) -> Buffers {
    let finite = Credits { header: credits, data: credits * 16 };
    let completion = if infinite_completions { Credits { header: 0, data: 0 } } else { finite };
    Buffers { posted: finite, non_posted: finite, completion }
}

fn rate(text: &str) -> peerbus_units::Rate {
    text.parse().unwrap()
}

fn cpu(shape: &Shape, number: usize) -> Cpu {
    let part = CpuPart {
        id: "cpu".into(),
        description: String::new(),
        vendor: "AuthenticAMD".into(),
        family: 0x19,
        models: vec![1],
        physical_bits: 48,
        virtual_bits: None,
        host_bridges: 4,
        root_bus_head: None,
        root_port: PciId { vendor: 0x1022, device: 0x1483 },
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
        host_bridge_rate: rate("400GB/s"),
        memory_latency: Picos::nanos(90),
        iommu: None,
        cache: None,
        peer_limits: None,
        cxl: None,
        memory_write_rate: None,
        reads_in_turn: None,
        memory_rate: rate("400GB/s"),
        buffers: buffers(shape.credits, true),
        sources: Sources::new(),
    };
    Cpu { name: format!("cpu{number}"), part, memory: Bytes::gib(64), assumed: Facts::new() }
}

/// A ring of links between CPUs, 50 GB/s and 100 ns each.
fn cpu_links(cpus: usize) -> Vec<CpuLink> {
    let part = CpuLinkPart {
        id: "socket".into(),
        description: String::new(),
        rate: rate("50GB/s"),
        peer_rate: None,
        latency: Picos::nanos(100),
        sources: Sources::new(),
    };
    let pairs = (0..cpus).map(|from| (from, (from + 1) % cpus)).filter(|(from, to)| cpus > 2 || from < to);
    pairs.map(|(from, to)| CpuLink { from, to, part: part.clone() }).collect()
}

/// An address in the memory of a CPU: 2 GiB of the first lie below 4 GiB, all else is stacked above.
pub fn host_memory(cpu: usize) -> u64 {
    u64::try_from(8 + 64 * cpu).unwrap() << 30
}

fn switch_part(shape: &Shape) -> SwitchPart {
    SwitchPart {
        id: "switch".into(),
        description: String::new(),
        pci: vec![],
        ports: 64,
        total_lanes: 1024,
        generation: 5,
        lanes: 16,
        max_payload: Bytes(512),
        acs: Some(0x5f),
        latency: Picos::nanos(115),
        store_and_forward: false,
        in_order: false,
        cxl: false,
        buffers: buffers(shape.credits, false),
        sources: Sources::new(),
    }
}

fn device_part(shape: &Shape) -> DevicePart {
    DevicePart {
        id: "device".into(),
        description: String::new(),
        kind: DeviceKind::Gpu,
        pci: vec![],
        class: 0x03_0200,
        generation: 5,
        lanes: 16,
        max_payload: Bytes(256),
        max_read_request: Bytes(512),
        tags: shape.tags,
        bars: vec![],
        memory: Some(Bytes(BAR)),
        acs: None,
        write_rate: rate(shape.engine_rate),
        read_rate: rate(shape.engine_rate),
        completion_timeout: None,
        request_latency: Picos::nanos(50),
        nvme: None,
        dma: None,
        atc: None,
        cxl: None,
        aperture: None,
        ntb: None,
        reads_in_turn: None,
        completer_latency: Picos::nanos(200),
        memory_rate: rate(shape.memory_rate),
        buffers: buffers(shape.credits, true),
        sources: Sources::new(),
    }
}

struct Builder {
    shape: Shape,
    machine: Machine,
}

impl Builder {
    fn function(&mut self, name: String, bridge: usize, id: FunctionId, role: Role) -> FunctionIndex {
        let class = if matches!(role, Role::Endpoint(_)) { 0x03_0200 } else { 0x06_0400 };
        let acs = (!matches!(role, Role::Endpoint(_))).then_some(Acs { capability: 0x5f, control: 0 });
        self.machine.functions.add_node(Function {
            name,
            id: Some(id),
            host_bridge: bridge,
            role,
            pci: PciId { vendor: 0x1022, device: 1 },
            subsystem: PciId { vendor: 0, device: 0 },
            class,
            bars: vec![],
            acs,
            max_payload: Bytes(256),
            firmware: None,
            config: Config::default(),
            inserted: false,
            assumed: Facts::new(),
        })
    }

    fn window(&mut self, function: FunctionIndex, buses: (u8, u8), devices: std::ops::Range<usize>) {
        let first = self.bar_address(devices.start);
        let size = BAR * u64::try_from(devices.len()).unwrap();
        let windows = Range::sized(first, Bytes(size)).map(|range| (ResourceKind::Mem64Prefetch, range));
        self.machine.functions[function].firmware = Some(BridgeFirmware {
            secondary: buses.0,
            subordinate: buses.1,
            windows: windows.into_iter().collect(),
        });
    }

    fn bar_address(&self, device: usize) -> BusAddr {
        BusAddr(WINDOW + BAR * u64::try_from(device).unwrap() - self.shape.bus_offset)
    }

    fn link(&mut self, name: &str, upper: FunctionIndex, lower: FunctionIndex) -> usize {
        self.machine.links.push(Link {
            name: name.into(),
            upper: Some(upper),
            hidden_below: None,
            lower,
            generation: self.shape.generation,
            lanes: self.shape.lanes,
            propagation: Picos::ZERO,
            bit_errors: BitErrorRate::ZERO,
            virtual_channel: self.shape.virtual_channel.clone(),
            assumed: Facts::new(),
        });
        let index = self.machine.links.len() - 1;
        self.machine.functions.add_edge(upper, lower, Attachment::Link(index));
        index
    }

    fn device(&mut self, bridge: usize, port: FunctionIndex, bus: u8) {
        let number = self.machine.devices.len();
        let name = format!("gpu{number}");
        let path = format!("{}/{name}", self.machine.functions[port].name);
        let function =
            self.function(path.clone(), bridge, FunctionId::new(0, bus, 0, 0), Role::Endpoint(number));
        let address = Some(self.bar_address(number));
        let bar =
            Bar { index: 0, size: Bytes(BAR), kind: ResourceKind::Mem64Prefetch, resizable: None, address };
        self.machine.functions[function].bars.push(bar);
        let link = self.link(&path, port, function);
        self.window(port, (bus, bus), number..number + 1);
        if let Some(acs) = &mut self.machine.functions[port].acs {
            acs.control = self.shape.acs_control;
        }
        self.machine.devices.push(Device {
            name,
            part: device_part(&self.shape),
            functions: vec![function],
            memory: Some(Bytes(BAR)),
            link: Some(link),
            max_read_request: Bytes(512),
            ordering: self.shape.ordering,
            aperture: None,
            assumed: Facts::new(),
        });
    }

    fn switch(&mut self, bridge: usize, port: FunctionIndex, first_bus: u8) -> u8 {
        let number = self.machine.switches.len();
        let path = format!("{}/sw{number}", self.machine.functions[port].name);
        let upstream = self.function(
            path.clone(),
            bridge,
            FunctionId::new(0, first_bus, 0, 0),
            Role::SwitchUpstream(number),
        );
        self.link(&path, port, upstream);
        let first_device = self.machine.devices.len();
        let mut bus = first_bus + 1;
        let mut downstream = Vec::new();
        for index in 0..self.shape.devices {
            let id = FunctionId::new(0, first_bus + 1, u8::try_from(index).unwrap(), 0);
            let role = Role::SwitchDownstream(number);
            let down = self.function(format!("{path}/p{index}"), bridge, id, role);
            self.machine.functions.add_edge(upstream, down, Attachment::Internal);
            bus += 1;
            self.device(bridge, down, bus);
            downstream.push(down);
        }
        let devices = first_device..self.machine.devices.len();
        self.window(upstream, (first_bus + 1, bus), devices.clone());
        self.window(port, (first_bus, bus), devices);
        let part = switch_part(&self.shape);
        let arbitration = Arbitration::default();
        let switch = Switch { name: path, part, upstream, downstream, arbitration, assumed: Facts::new() };
        self.machine.switches.push(switch);
        bus + 1
    }

    fn root(&mut self, bridge: usize) {
        let buses = 256 / self.shape.roots.max(4);
        let first_bus = u8::try_from(bridge * buses).unwrap();
        let (mut bus, first_device) = (first_bus + 1, self.machine.devices.len());
        let mut functions = Vec::new();
        let ports = if self.shape.switches > 0 { self.shape.switches } else { self.shape.devices };
        for index in 0..ports {
            let id = FunctionId::new(0, first_bus, u8::try_from(index).unwrap(), 0);
            let port = self.function(format!("host{bridge}/rp{index}"), bridge, id, Role::RootPort);
            functions.push(port);
            if self.shape.switches > 0 {
                bus = self.switch(bridge, port, bus);
            } else {
                self.device(bridge, port, bus);
                bus += 1;
            }
        }
        let count = self.machine.devices.len() - first_device;
        let bus_addr = self.bar_address(first_device);
        let cpu = CpuAddr(bus_addr.0 + self.shape.bus_offset);
        let range = Range::sized(cpu, Bytes(BAR * u64::try_from(count).unwrap())).unwrap();
        self.machine.host_bridges.push(HostBridge {
            name: format!("host{bridge}"),
            cpu: bridge % self.shape.cpus,
            domain: 0,
            bus: first_bus,
            bus_last: u8::try_from(usize::from(first_bus) + buses - 1).unwrap(),
            windows: vec![Window { cpu: range, bus: bus_addr, kind: ResourceKind::Mem64Prefetch }],
            functions,
            placed: false,
            assumed: Facts::new(),
        });
    }
}

/// A machine of that shape with its registers as firmware leaves them.
pub fn machine(shape: &Shape) -> (Machine, Registers) {
    let machine = Machine {
        name: "test".into(),
        source: String::new(),
        cpus: (0..shape.cpus).map(|number| cpu(shape, number)).collect(),
        cpu_links: cpu_links(shape.cpus),
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
    let mut builder = Builder { shape: shape.clone(), machine };
    for bridge in 0..shape.roots {
        builder.root(bridge);
    }
    let registers = Registers::power_on(&builder.machine);
    (builder.machine, registers)
}

/// Bus address of a device's BAR.
pub fn bar(shape: &Shape, device: usize) -> u64 {
    WINDOW + BAR * u64::try_from(device).unwrap() - shape.bus_offset
}
