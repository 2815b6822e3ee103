//! What differs between kernels in memory management, as facts.

/// When anonymous memory gets huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugePolicy {
    /// Wherever they fit, unless advised against.
    Always,
    /// Where advised.
    Advised,
    /// Nowhere.
    Never,
}

/// How a device gets pages for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExclusiveRule {
    /// 6.x: a window of pages at once; the walk from a folio's first page makes all of its pages exclusive; other
    /// pages of a huge folio fail. Any failure is `EBUSY`. The entries leave the page's list of mappings.
    ByFolio,
    /// 7.x: page by page; the first failure stops it with its own error. The page stays mapped.
    ByPage,
}

/// Everything about memory management in which the reproduced kernels differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MmRules {
    /// When anonymous memory gets huge pages.
    pub huge_policy: HugePolicy,
    /// A split folio's pages of zeros are replaced by the shared page of zeros.
    pub split_finds_zero_pages: bool,
    /// A huge folio mapped by small entries is split when such a page is to be migrated; otherwise it stays.
    pub splits_for_migration: bool,
    /// A page of a huge folio can be written without a copy when one process has all its mappings.
    pub reuses_huge_of_one_process: bool,
    /// A write to the huge page of zeros gets a huge page; otherwise a small one.
    pub huge_zero_write_is_huge: bool,
    /// A range of several mappings can be moved.
    pub moves_several_mappings: bool,
    /// Emptying a whole 2 MiB by advice frees its table.
    pub advice_frees_tables: bool,
    /// A range that has pages may join a neighbour that has none.
    pub joins_untouched_neighbour: bool,
    /// Accounting ends when untouched private memory becomes read-only.
    pub untouched_read_only_is_not_accounted: bool,
    /// How a device gets pages for itself.
    pub exclusive: ExclusiveRule,
    /// Huge folios migrate whole, and device memory has huge folios.
    pub huge_migration: bool,
    /// A CPU fault on a private page locks it; otherwise it takes a reference only.
    pub private_fault_locks: bool,
    /// Never-touched pages migrated to the test device are writable to it at once.
    pub untouched_is_device_writable: bool,
    /// The range-fault helper that lets go of the lock exists.
    pub unlocked_range_fault: bool,
    /// 7.3.4's defect: the words of a huge private page asked for in parts start at the folio's first page.
    pub huge_private_words_ignore_offset: bool,
    /// Where the order of a page is in the words of a range fault.
    pub order_shift: u32,
}

impl MmRules {
    /// Linux 6.1.192.
    pub const LINUX_6_1: MmRules = MmRules {
        huge_policy: HugePolicy::Always,
        split_finds_zero_pages: false,
        splits_for_migration: false,
        reuses_huge_of_one_process: false,
        huge_zero_write_is_huge: false,
        moves_several_mappings: false,
        advice_frees_tables: false,
        joins_untouched_neighbour: false,
        untouched_read_only_is_not_accounted: false,
        exclusive: ExclusiveRule::ByFolio,
        huge_migration: false,
        private_fault_locks: false,
        untouched_is_device_writable: true,
        unlocked_range_fault: false,
        huge_private_words_ignore_offset: false,
        order_shift: 56,
    };

    /// Linux 6.12.117.
    pub const LINUX_6_12: MmRules = MmRules {
        split_finds_zero_pages: true,
        untouched_read_only_is_not_accounted: true,
        ..MmRules::LINUX_6_1
    };

    /// Linux 7.3.4.
    pub const LINUX_7_3: MmRules = MmRules {
        splits_for_migration: true,
        reuses_huge_of_one_process: true,
        huge_zero_write_is_huge: true,
        moves_several_mappings: true,
        advice_frees_tables: true,
        joins_untouched_neighbour: true,
        exclusive: ExclusiveRule::ByPage,
        huge_migration: true,
        private_fault_locks: true,
        untouched_is_device_writable: false,
        unlocked_range_fault: true,
        order_shift: 53,
        ..MmRules::LINUX_6_12
    };
}
