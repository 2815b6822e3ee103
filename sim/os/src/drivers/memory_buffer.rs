//! The memory buffer of an NVMe controller: what its driver registers as peer memory, and whether others may find it.
//!
//! Two registers say where it is and what it is for (NVMe Base Specification, CMBLOC and CMBSZ). The size is in units that
//! the second chooses, 4 KiB to 64 GiB, and so is the offset in the BAR that the first names. What lies beyond the BAR is
//! not there. A buffer that takes and gives no data of commands is registered all the same, for queues, but not published.

use core::fmt;

use peerbus_units::{Bytes, CpuAddr, Range};

use crate::p2pdma::{P2pdma, PhysicalMemory, RegisterError};
use crate::pagemap::SUB_SECTION;
use crate::pci::{FunctionIndex, Tree, resource};

/// The two registers, as read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MemoryBufferRegisters {
    /// CMBLOC: bits 2:0 number the BAR, 31:12 are the offset in units.
    pub location: u32,
    /// CMBSZ: bits 11:8 choose the unit, 31:12 are the size in units; below, what it supports.
    pub size: u32,
}

/// Support bits of CMBSZ: data that commands read, data that they write.
const READ_DATA: u32 = 1 << 3;
const WRITE_DATA: u32 = 1 << 4;
/// Smallest unit: 4 KiB. Each next one is 16 times as large; seven are defined.
const UNIT_SHIFT: u32 = 12;
const LAST_UNIT: u32 = 6;
/// Units that a field has room for.
const MOST_UNITS: u64 = (1 << 20) - 1;

impl MemoryBufferRegisters {
    /// The registers of a buffer of `size` bytes at `offset` of a BAR; `None` when no unit divides both, or a field has no room.
    pub fn new(
        bar: u8,
        offset: Bytes,
        size: Bytes,
        reads: bool,
        writes: bool,
    ) -> Option<MemoryBufferRegisters> {
        let fits = |unit: &u32| {
            let field = |bytes: Bytes| {
                let shift = UNIT_SHIFT + 4 * *unit;
                let count = bytes.0 >> shift;
                let exact = count << shift == bytes.0 && count <= MOST_UNITS;
                u32::try_from(count).ok().filter(|_| exact)
            };
            let fields = field(offset).zip(field(size));
            fields.map(|(offset, size)| (*unit, offset, size))
        };
        let (unit, offset, size) = (0..=LAST_UNIT).find_map(|unit| fits(&unit))?;
        let support = if reads { READ_DATA } else { 0 } | if writes { WRITE_DATA } else { 0 };
        let bar = u32::from(bar & 7);
        Some(MemoryBufferRegisters {
            location: bar | offset << UNIT_SHIFT,
            size: support | unit << 8 | size << UNIT_SHIFT,
        })
    }

    /// The BAR that the buffer lies in.
    pub const fn bar(self) -> usize {
        (self.location & 7) as usize
    }

    /// Where it begins in the BAR and how long it is; `None` when there is none, or its unit is not defined.
    fn extent(self) -> Option<(Bytes, Bytes)> {
        let unit = self.size >> 8 & 0xf;
        let (offset, size) = (self.location >> UNIT_SHIFT, self.size >> UNIT_SHIFT);
        let bytes = |count: u32| Bytes(u64::from(count) << (UNIT_SHIFT + 4 * unit));
        (unit <= LAST_UNIT && size > 0).then(|| (bytes(offset), bytes(size)))
    }

    /// Whether commands can have their data there, to read and to write.
    pub const fn holds_data(self) -> bool {
        self.size & READ_DATA != 0 && self.size & WRITE_DATA != 0
    }
}

/// Why a controller's buffer is not registered. Its driver goes on without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoMemoryBuffer {
    /// The registers name none.
    Absent,
    /// The BAR that they name has no address, or ends before it begins.
    OutsideBar,
    /// The driver saw that its BAR's start, or its size, is no multiple of 2 MiB.
    Unaligned,
    /// It was to be registered, and refused.
    Register(RegisterError),
}

impl fmt::Display for NoMemoryBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoMemoryBuffer::Absent => f.write_str("the controller has no memory buffer"),
            NoMemoryBuffer::OutsideBar => f.write_str("the memory buffer begins outside its BAR"),
            NoMemoryBuffer::Unaligned => {
                f.write_str("the driver takes no memory buffer whose BAR or size is no multiple of 2 MiB")
            }
            NoMemoryBuffer::Register(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NoMemoryBuffer {}

/// Registers the memory buffer of `function`, and publishes it if commands can have their data there. Returns what of it lies in its
/// BAR.
///
/// # Errors
///
/// There is none, or it was not registered.
pub fn add_memory_buffer(
    p2pdma: &mut P2pdma,
    tree: &Tree,
    memory: &PhysicalMemory<'_>,
    function: FunctionIndex,
    registers: MemoryBufferRegisters,
) -> Result<Range<CpuAddr>, NoMemoryBuffer> {
    let (offset, size) = registers.extent().ok_or(NoMemoryBuffer::Absent)?;
    let bar = Some(registers.bar()).filter(|bar| *bar < resource::ROM);
    let whole =
        bar.and_then(|bar| tree[function].resources[bar].range()).ok_or(NoMemoryBuffer::OutsideBar)?;
    let behind = whole.size().0.checked_sub(offset.0).filter(|behind| *behind > 0);
    let size = size.min(Bytes(behind.ok_or(NoMemoryBuffer::OutsideBar)?));
    let aligned = whole.first().0.is_multiple_of(SUB_SECTION) && size.0.is_multiple_of(SUB_SECTION);
    if p2pdma.rules().memory_buffers_are_checked && !aligned {
        return Err(NoMemoryBuffer::Unaligned);
    }
    let added = p2pdma.add_resource(tree, memory, function, registers.bar(), size, offset);
    let range = added.map_err(NoMemoryBuffer::Register)?;
    if registers.holds_data() {
        p2pdma.publish(tree[function].id, true);
    }
    Ok(range)
}
