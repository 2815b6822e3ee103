//! Resizable BARs: which sizes a BAR can have, and giving it another one with everything above it.
//!
//! Sizes are powers of two from 1 MiB: number `n` means 2^`n` MiB. [`resize`] takes the BARs that share
//! a window out of it, releases the windows on the way up that then hold nothing else, and sizes and assigns
//! again from the highest of them. Functions elsewhere stay where they are.
//!
//! All registers are written in one [`Transaction`] at the end: a resize that fails leaves registers, BARs and
//! windows as they were.

use alloc::vec::Vec;
use core::fmt;

use peerbus_units::Bytes;

use super::failure::WhyNot;
use super::options::BootOptions;
use super::regs;
use super::resource::{IO_WINDOW, IOV_FIRST, Parent, RESOURCES, ROM, ResourceFlags, ResourceRef, is_window};
use super::setup::{Saved, Setup};
use super::transaction::Transaction;
use super::tree::{FunctionIndex, Tree};
use super::wishes::Wishes;
use crate::{BarResizing, ConfigAccess, ConfigSpace, Rules};

/// A size of a resizable BAR by its number: 2^number MiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResizableSize(u8);

impl ResizableSize {
    /// The largest number that the capability register can list: 128 TiB.
    const LAST: u8 = 27;

    /// The size with that number, 0 to 27.
    pub const fn new(number: u8) -> Option<ResizableSize> {
        if number <= ResizableSize::LAST { Some(ResizableSize(number)) } else { None }
    }

    /// The smallest size that holds `bytes`; `None` above 128 TiB.
    pub fn holding(bytes: Bytes) -> Option<ResizableSize> {
        (0..=ResizableSize::LAST).map(ResizableSize).find(|size| size.bytes() >= bytes)
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The size in bytes.
    pub const fn bytes(self) -> Bytes {
        Bytes(1 << (20 + self.0))
    }
}

/// The sizes a BAR can have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ResizableSizes(u32);

impl ResizableSizes {
    /// True when `size` is among them.
    pub const fn has(self, size: ResizableSize) -> bool {
        self.0 >> size.0 & 1 == 1
    }

    /// All of them, smallest first.
    pub fn iter(self) -> impl Iterator<Item = ResizableSize> {
        (0..=ResizableSize::LAST).map(ResizableSize).filter(move |size| self.has(*size))
    }

    /// True when there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Why a BAR was not resized. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResizeError {
    /// `ENOTSUPP`: firmware's configuration is preserved, or the function has no Resizable BAR capability (6.x:
    /// or the BAR has no sizes).
    NotSupported,
    /// `EBUSY`: the function decodes memory.
    Busy,
    /// `EINVAL`: the BAR cannot have that size; these are the ones it can have.
    Invalid(ResizableSizes),
    /// `ENOENT`: the capability does not list the BAR, the BAR does not exist, or no window above could be
    /// released.
    NoEntry,
    /// `ENOSPC`: there is no room; each resource that would have lost its address, with its cause.
    NoSpace(Vec<WhyNot>),
}

impl ResizeError {
    /// The kernel's name of the error number.
    pub const fn errno(&self) -> &'static str {
        match self {
            ResizeError::NotSupported => "ENOTSUPP",
            ResizeError::Busy => "EBUSY",
            ResizeError::Invalid(_) => "EINVAL",
            ResizeError::NoEntry => "ENOENT",
            ResizeError::NoSpace(_) => "ENOSPC",
        }
    }
}

impl fmt::Display for ResizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.errno())?;
        match self {
            ResizeError::NotSupported => write!(f, "the BAR cannot be resized here"),
            ResizeError::Busy => write!(f, "the function decodes memory"),
            ResizeError::Invalid(sizes) => {
                write!(f, "the BAR can have")?;
                sizes.iter().try_for_each(|size| write!(f, " {}", size.bytes()))
            }
            ResizeError::NoEntry => write!(f, "no such resizable BAR, or no window above could be released"),
            ResizeError::NoSpace(failures) => {
                write!(f, "no room")?;
                failures.iter().try_for_each(|failure| write!(f, "; {failure}"))
            }
        }
    }
}

impl core::error::Error for ResizeError {}

/// Offset of the control register of `bar`. `NotSupported` without the capability, `NoEntry` when it does not
/// list the BAR.
fn control_register(cs: &impl ConfigSpace, tree: &Tree, at: ResourceRef) -> Result<u16, ResizeError> {
    let function = &tree[at.function];
    let capability = function.capabilities.rebar.ok_or(ResizeError::NotSupported)?;
    let first = cs.read_dword(function.id, capability + regs::REBAR_CONTROL);
    let pairs = (first >> regs::REBAR_COUNT_SHIFT & 0x7) as u16;
    let mut controls = (0..pairs).map(|pair| capability + regs::REBAR_CONTROL + regs::REBAR_PAIR * pair);
    let lists = |control: &u16| {
        let bar = cs.read_dword(function.id, *control) & regs::REBAR_BAR;
        usize::try_from(bar) == Ok(at.number)
    };
    controls.find(lists).ok_or(ResizeError::NoEntry)
}

/// The sizes that a BAR's capability register lists.
///
/// Errors: [`ResizeError::NotSupported`] without the capability, [`ResizeError::NoEntry`] when it does not list
/// the BAR.
pub fn resizable_sizes(
    cs: &impl ConfigSpace,
    tree: &Tree,
    at: ResourceRef,
) -> Result<ResizableSizes, ResizeError> {
    let control = control_register(cs, tree, at)?;
    let register = control - regs::REBAR_CONTROL + regs::REBAR_CAPABILITY;
    let sizes = cs.read_dword(tree[at.function].id, register);
    Ok(ResizableSizes(if sizes == u32::MAX { 0 } else { sizes >> regs::REBAR_SIZES_SHIFT }))
}

/// What a driver asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resize {
    /// The function and the number of its BAR, 0–5.
    pub bar: ResourceRef,
    /// The size it is to have.
    pub size: ResizableSize,
    /// Other BARs of the function that must not move: bit `n` for resource `n`.
    pub exclude: u32,
}

/// `pci_resize_resource`: gives a BAR another size.
///
/// The function must not decode memory. On success, every BAR of the function that shared the window has an
/// address again, not necessarily the one it had.
pub fn resize(
    cs: &mut impl ConfigSpace,
    tree: &mut Tree,
    rules: &Rules,
    options: &BootOptions,
    request: Resize,
) -> Result<(), ResizeError> {
    let control = check(cs, tree, rules, options, request)?;
    let id = tree[request.bar.function].id;
    let value = cs.read_dword(id, control) & !regs::REBAR_SIZE;
    let mut changed = tree.clone();
    let mut transaction = Transaction::new(cs);
    transaction.write_dword(id, control, value | u32::from(request.size.0) << regs::REBAR_SIZE_SHIFT);
    let mut setup = Setup::new(&mut transaction, &mut changed, rules, options);
    setup.resize(request)?;
    let why_not = core::mem::take(&mut setup.why_not);
    setup.program_bridges();
    changed.failures = why_not.into_values().collect();
    transaction.commit();
    *tree = changed;
    Ok(())
}

/// Everything that can be refused before anything is released; the control register of the BAR.
fn check(
    cs: &impl ConfigSpace,
    tree: &Tree,
    rules: &Rules,
    options: &BootOptions,
    request: Resize,
) -> Result<u16, ResizeError> {
    if options.preserve_firmware {
        return Err(ResizeError::NotSupported);
    }
    let id = tree[request.bar.function].id;
    if cs.read_word(id, regs::COMMAND) & regs::COMMAND_MEMORY != 0 {
        return Err(ResizeError::Busy);
    }
    let sizes = match resizable_sizes(cs, tree, request.bar) {
        Err(_) if rules.bar_resizing == BarResizing::ExactKind => return Err(ResizeError::NotSupported),
        Ok(sizes) if sizes.is_empty() && rules.bar_resizing == BarResizing::ExactKind => {
            return Err(ResizeError::NotSupported);
        }
        sizes => sizes?,
    };
    if !sizes.has(request.size) {
        return Err(ResizeError::Invalid(sizes));
    }
    if !tree.resource(request.bar).flags.is_mem() {
        return Err(ResizeError::NoEntry);
    }
    control_register(cs, tree, request.bar)
}

impl<C: ConfigSpace> Setup<'_, C> {
    fn resize(&mut self, request: Resize) -> Result<(), ResizeError> {
        let bar = request.bar;
        let kind = self.resource(bar).flags;
        let window = self.resource(bar).at.map(|place| place.parent);
        for at in self.sharing(bar, window).into_iter().filter(|at| !excluded(request, *at)) {
            self.release(at);
        }
        self.release(bar);
        let resource = self.tree.resource_mut(bar);
        (resource.size, resource.align) = (request.size.bytes(), request.size.bytes().0);
        let top = self.release_windows_above(bar, window)?;
        let mut wishes = Some(Wishes::default());
        let mut failed = Vec::new();
        match top {
            Some(bridge) => {
                if let Some(below) = self.tree[bridge].subordinate {
                    self.size_bridges(below, &mut wishes);
                }
                self.assign_functions(&[bridge], &mut wishes, &mut failed);
            }
            None => {
                let bus = self.tree[bar.function].bus;
                self.assign_bus(bus, &mut wishes, &mut failed);
            }
        }
        self.refuse_failures(bar, kind, &failed)
    }

    /// BARs of the function that lie in the same window.
    fn sharing(&self, bar: ResourceRef, window: Option<Parent>) -> Vec<ResourceRef> {
        let others = (0..IO_WINDOW).map(|number| ResourceRef { number, ..bar });
        let same = |at: &ResourceRef| {
            let parent = self.resource(*at).at.map(|place| place.parent);
            parent.is_some() && parent == window && self.is_free_to_move(*at)
        };
        others.filter(same).collect()
    }

    /// Enabled virtual functions keep the BARs they were cut from in place.
    fn is_free_to_move(&self, at: ResourceRef) -> bool {
        at.number < IOV_FIRST || self.tree.space.claims(Parent::Window(at)).is_empty()
    }

    /// Releases the windows above `bar` that hold nothing else; the highest bridge of which one was released,
    /// or `None` where the function lies on a root bus.
    fn release_windows_above(
        &mut self,
        bar: ResourceRef,
        window: Option<Parent>,
    ) -> Result<Option<FunctionIndex>, ResizeError> {
        let mut bus = self.tree[bar.function].bus;
        if self.tree.bridge_above(bus).is_none() {
            let here = self.rules.bar_resizing == BarResizing::WindowInUse;
            return if here { Ok(None) } else { Err(ResizeError::NoEntry) };
        }
        let kind = self.resource(bar).flags;
        let (mut window, mut top) = (window, None);
        while let Some(bridge) = self.tree.bridge_above(bus) {
            let in_use = match self.rules.bar_resizing {
                BarResizing::WindowInUse => Some(self.window_in_use(bridge, kind, window)),
                BarResizing::ExactKind => self.window_of_kind(bridge, kind),
            };
            let above = in_use.and_then(|at| self.resource(at).at.map(|place| place.parent));
            let empty = in_use.filter(|at| self.tree.space.claims(Parent::Window(*at)).is_empty());
            match empty {
                Some(at) => {
                    self.release(at);
                    self.tree.resource_mut(at).size = Bytes::ZERO;
                    top = Some(bridge);
                }
                // In 7.x a window that is kept keeps those above it too: nothing more would be released.
                None => break,
            }
            window = above;
            bus = self.tree[bridge].bus;
        }
        top.map(Some).ok_or(ResizeError::NoEntry)
    }

    /// The window of `bridge` that holds what lies in `window`, or that a resource of this kind belongs in.
    fn window_in_use(
        &self,
        bridge: FunctionIndex,
        kind: ResourceFlags,
        window: Option<Parent>,
    ) -> ResourceRef {
        match window {
            Some(Parent::Window(at)) if at.function == bridge => at,
            _ => ResourceRef { function: bridge, number: self.window_for(bridge, kind) },
        }
    }

    /// The window of `bridge` whose kind is exactly that of the BAR.
    fn window_of_kind(&self, bridge: FunctionIndex, kind: ResourceFlags) -> Option<ResourceRef> {
        let mut windows = (IO_WINDOW..RESOURCES).map(|number| ResourceRef { function: bridge, number });
        windows.find(|at| self.resource(*at).flags & ResourceFlags::KIND == kind & ResourceFlags::KIND)
    }

    /// The failures that undo a resize: in 7.x those of required resources of the BAR's type, in 6.x all.
    fn refuse_failures(
        &self,
        bar: ResourceRef,
        kind: ResourceFlags,
        failed: &[Saved],
    ) -> Result<(), ResizeError> {
        let mask = ResourceFlags::TYPE_BITS | ResourceFlags::PREFETCH;
        let any = self.rules.bar_resizing == BarResizing::ExactKind;
        let counts = |saved: &&Saved| {
            // A window that only wished for space lost nothing.
            let wished = is_window(saved.at.number) && saved.size == Bytes::ZERO;
            let optional = (ROM..IO_WINDOW).contains(&saved.at.number);
            saved.at == bar || !wished && (any || !optional && saved.flags & mask == kind & mask)
        };
        let lost: Vec<_> = failed.iter().filter(counts).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let causes = lost.iter().filter_map(|saved| self.why_not.get(&saved.at).cloned());
        Err(ResizeError::NoSpace(causes.collect()))
    }
}

fn excluded(request: Resize, at: ResourceRef) -> bool {
    at != request.bar && request.exclude >> at.number & 1 == 1
}
