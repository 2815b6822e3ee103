//! A program without a standard library that links the operating system half.
//!
//! It brings the panic handler and the allocator that `std` would bring. Were `std` anywhere below it, the compiler
//! would find the panic handler twice and refuse.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use peerbus_os::{ConfigSpace, Profile, RulesOptions, Width, boot, pci::BootOptions};
use peerbus_units::FunctionId;

struct NoMemory;

// SAFETY: never returns memory, so there is nothing to misuse.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

struct Nothing;

impl ConfigSpace for Nothing {
    fn read(&self, _: FunctionId, _: u16, _: Width) -> u32 {
        u32::MAX
    }

    fn write(&mut self, _: FunctionId, _: u16, _: Width, _: u32) {}
}

/// Boots a machine in which nothing answers; what matters is that it links.
#[unsafe(no_mangle)]
pub extern "C" fn boot_nothing() -> usize {
    let rules = Profile::Linux_7_3.rules(RulesOptions::default());
    boot(&mut Nothing, &[], &rules, &BootOptions::default()).functions.len()
}
