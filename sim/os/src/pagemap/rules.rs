//! [`PageMapRules`]: in what the kernels differ when they give page structs to device memory.

use crate::device_private::{HmmLayout, MigrateLayout, PrivateDesign};

/// Facts about one kernel's page maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageMapRules {
    /// Where private memory has its page frames. The posted series is an option; no released kernel has it.
    pub private_design: PrivateDesign,
    /// Largest order of a compound page that is accepted; `None`: not checked.
    pub largest_compound_order: Option<u32>,
    /// Count of a page of a file system's persistent memory that no file uses.
    pub resting_dax_references: u32,
    /// Count of a page of peer memory that nobody uses.
    pub resting_peer_references: u32,
    /// Private memory can be handed out as compound pages of 2 MiB.
    pub private_folios: bool,
    /// Page structs are initialised as a series posted in 2026 does it. No released kernel has it.
    pub faster_initialisation: bool,
    /// Pieces of 2 MiB that nouveau reserves at once.
    pub nouveau_pieces: u64,
    /// xe's devices that reach each other's memory are one owner.
    pub owner_groups: bool,
    /// Words of range faults.
    pub hmm_words: HmmLayout,
    /// Words of migration.
    pub migrate_words: MigrateLayout,
}

impl PageMapRules {
    /// Linux 6.1.192.
    pub const LINUX_6_1: PageMapRules = PageMapRules {
        private_design: PrivateDesign::PhysicalSpace,
        largest_compound_order: None,
        resting_dax_references: 1,
        resting_peer_references: 1,
        private_folios: false,
        faster_initialisation: false,
        nouveau_pieces: 1,
        owner_groups: false,
        hmm_words: HmmLayout::LINUX_6_1,
        migrate_words: MigrateLayout::LINUX_6_1,
    };

    /// Linux 6.12.117.
    pub const LINUX_6_12: PageMapRules = PageMapRules::LINUX_6_1;

    /// Linux 7.3.4. The largest folio is that of the largest huge page, 1 GiB.
    pub const LINUX_7_3: PageMapRules = PageMapRules {
        largest_compound_order: Some(18),
        resting_dax_references: 0,
        resting_peer_references: 0,
        private_folios: true,
        nouveau_pieces: 128,
        owner_groups: true,
        hmm_words: HmmLayout::LINUX_7_3,
        migrate_words: MigrateLayout::LINUX_7_3,
        ..PageMapRules::LINUX_6_12
    };

    /// The same with another design of private memory, and the flags it needs.
    pub const fn with(self, design: PrivateDesign) -> PageMapRules {
        PageMapRules {
            private_design: design,
            hmm_words: self.hmm_words.with(design),
            migrate_words: self.migrate_words.with(design),
            ..self
        }
    }
}
