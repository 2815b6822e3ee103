//! Collects a [`Matrix`] from a booted machine.

use peerbus_machine::Machine;
use peerbus_machine::model::{Device, FunctionIndex, Role};
use peerbus_os::dma;
use peerbus_os::p2pdma::Resolver;
use peerbus_os::pci::{self, HeaderType, ResourceRef};
use peerbus_os::{MapType, Resolution};
use peerbus_units::{Address, FunctionId};

use super::depends::facts;
use super::{DmaKind, Matrix, MatrixFunction, Pair, Reason};
use crate::boot::Booted;
use crate::iommu::Preview;

/// The decisions for every ordered pair of functions with a type 0 header.
pub fn matrix(machine: &Machine, booted: &Booted) -> Matrix {
    let tree = &booted.tree;
    let resolver = Resolver::new(tree, &booted.registers, &booted.cpu, &booted.rules);
    let rows: Vec<pci::FunctionIndex> = tree
        .iter()
        .filter(|(_, function)| function.header == HeaderType::Normal)
        .map(|(index, _)| index)
        .collect();
    let mut preview = Preview::new(booted);
    let mut pairs = Vec::with_capacity(rows.len() * rows.len());
    for &provider in &rows {
        let memory = Memory::of(booted, provider);
        for &client in &rows {
            let resolution = resolver.resolve(provider, client);
            pairs.push(pair(machine, booted, &mut preview, &memory, (provider, client), &resolution));
        }
    }
    Matrix {
        schema: "peerbus.p2p/1",
        version: env!("CARGO_PKG_VERSION"),
        machine: machine.name.clone(),
        profile: booted.settings.profile,
        functions: rows.iter().map(|row| function(machine, booted, *row)).collect(),
        pairs,
    }
}

/// The decision for one ordered pair of functions; `None` when the operating system did not find both.
pub fn pair_of(
    machine: &Machine,
    booted: &Booted,
    provider: FunctionIndex,
    client: FunctionIndex,
) -> Option<Pair> {
    let ends = (booted.os_function(provider)?, booted.os_function(client)?);
    let resolution = booted.resolve(provider, client)?;
    let (mut preview, memory) = (Preview::new(booted), Memory::of(booted, ends.0));
    Some(pair(machine, booted, &mut preview, &memory, ends, &resolution))
}

fn function(machine: &Machine, booted: &Booted, row: pci::FunctionIndex) -> MatrixFunction {
    let index = booted.machine_function(row);
    let device = match machine.functions[index].role {
        Role::Endpoint(device) => Some(&machine.devices[device]),
        _ => None,
    };
    let device = device.filter(|device| device.functions.first() == Some(&index));
    let function = &machine.functions[index];
    let of_system = SYSTEM_CLASSES.contains(&(function.class >> 16));
    let sends = |device: &Device| device.link.is_some() || !function.bars.is_empty();
    MatrixFunction {
        function: booted.tree[row].id,
        name: function.name.clone(),
        device: device.map(|device| device.name.clone()),
        class: function.class,
        peer: !of_system && device.is_some_and(sends),
    }
}

/// Base classes of bridges (which with a type 0 header are host bridges and the like) and of system peripherals.
const SYSTEM_CLASSES: [u32; 2] = [0x06, 0x08];

/// The memory of a provider that its clients are after.
struct Memory {
    function: FunctionIndex,
    bar: Option<usize>,
    cpu_addr: Option<u64>,
}

impl Memory {
    fn of(booted: &Booted, provider: pci::FunctionIndex) -> Memory {
        let function = booted.machine_function(provider);
        let bar = booted.peer_bar(function);
        let resource = |number| booted.tree.resource(ResourceRef { function: provider, number });
        let range = bar.and_then(|bar| resource(bar).range());
        Memory { function, bar, cpu_addr: range.map(|range| range.first().raw()) }
    }
}

fn pair(
    machine: &Machine,
    booted: &Booted,
    preview: &mut Preview<'_>,
    memory: &Memory,
    (provider, client): (pci::FunctionIndex, pci::FunctionIndex),
    resolution: &Resolution,
) -> Pair {
    let id = |index: pci::FunctionIndex| -> FunctionId { booted.tree[index].id };
    let map_type = resolution.map_type;
    let target = memory.bar.and_then(|bar| booted.bar_memory(map_type, memory.function, bar));
    let sent = target.and_then(|target| preview.first_page(client, &target).ok());
    let reasons = resolution.reasons.iter().map(|reason| Reason {
        kind: reason.kind(),
        functions: reason.functions().iter().map(|index| id(*index)).collect(),
    });
    let ends = (memory.function, booted.machine_function(client));
    Pair {
        provider: id(provider),
        client: id(client),
        map_type: map_type.into(),
        distance: resolution.distance,
        reasons: reasons.collect(),
        bar: memory.bar.and_then(|bar| u8::try_from(bar).ok()),
        cpu_addr: memory.cpu_addr,
        dma_addr: sent.map(|(address, _)| address.raw()),
        dma_kind: sent.map(|(_, kind)| kind.into()),
        assumed: facts(machine, booted, ends, map_type),
    }
}

impl From<MapType> for super::MapType {
    fn from(map_type: MapType) -> super::MapType {
        match map_type {
            MapType::BusAddr => super::MapType::BusAddr,
            MapType::ThruHostBridge => super::MapType::ThruHostBridge,
            MapType::NotSupported => super::MapType::NotSupported,
        }
    }
}

impl From<dma::DmaKind> for DmaKind {
    fn from(kind: dma::DmaKind) -> DmaKind {
        match kind {
            dma::DmaKind::Bus => DmaKind::Bus,
            dma::DmaKind::Cpu => DmaKind::Cpu,
            dma::DmaKind::Iova => DmaKind::Iova,
        }
    }
}
