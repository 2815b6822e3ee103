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

/// When a write-protected page of a huge folio, mapped by a small entry, is written without a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeReuse {
    /// 6.1: when its mapping is the folio's only reference.
    LastMapping,
    /// 6.12: never.
    Never,
    /// 7.x: when one process has all mappings of the folio, and nobody else a reference.
    OneProcess,
}

/// Whether a huge folio counts as shared when only a part of it may be lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShareGuess {
    /// 6.1: when the page asked for is mapped more than once.
    Page,
    /// 6.12: when it has more mappings than pages, or its first page is mapped more than once.
    FirstPage,
    /// 7.x: when another process maps it.
    Exact,
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
    /// When a page of a huge folio is written without a copy.
    pub huge_reuse: HugeReuse,
    /// Whether a huge folio counts as shared.
    pub share_guess: ShareGuess,
    /// A mapping left behind empty by a move counts as made anew there.
    pub left_mapping_starts_anew: bool,
    /// A write to the huge page of zeros gets a huge page; otherwise a small one.
    pub huge_zero_write_is_huge: bool,
    /// A range of several mappings can be moved.
    pub moves_several_mappings: bool,
    /// A move looks for the mapping before it looks at how its places lie.
    pub move_finds_mapping_first: bool,
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
    /// The huge page of zeros counts as a file's page in what a process learns about its memory.
    pub huge_zero_shows_as_file: bool,
    /// Whether pages of a huge entry are mapped once is answered by the first of them.
    pub huge_once_by_first_page: bool,
    /// A CPU fault begins under the lock of its mapping alone; one on a private page is then repeated under the lock of
    /// all mappings.
    pub fault_begins_under_mapping_lock: bool,
    /// A CPU fault on a private page locks it; otherwise it takes a reference only.
    pub private_fault_locks: bool,
    /// Never-touched pages migrated to the test device are writable to it at once.
    pub untouched_is_device_writable: bool,
    /// The range-fault helper that lets go of the lock exists.
    pub unlocked_range_fault: bool,
    /// 7.3.4's defect: the words of a huge private page asked for in parts start at the folio's first page.
    pub huge_private_words_ignore_offset: bool,
    /// Pages the test device asks HMM for at once.
    pub test_device_window: u64,
}

impl MmRules {
    /// Linux 6.1.192.
    pub const LINUX_6_1: MmRules = MmRules {
        huge_policy: HugePolicy::Always,
        split_finds_zero_pages: false,
        splits_for_migration: false,
        huge_reuse: HugeReuse::LastMapping,
        share_guess: ShareGuess::Page,
        left_mapping_starts_anew: false,
        huge_zero_write_is_huge: false,
        moves_several_mappings: false,
        move_finds_mapping_first: true,
        advice_frees_tables: false,
        joins_untouched_neighbour: false,
        untouched_read_only_is_not_accounted: false,
        exclusive: ExclusiveRule::ByFolio,
        huge_migration: false,
        huge_zero_shows_as_file: true,
        huge_once_by_first_page: false,
        fault_begins_under_mapping_lock: false,
        private_fault_locks: false,
        untouched_is_device_writable: true,
        unlocked_range_fault: false,
        huge_private_words_ignore_offset: false,
        test_device_window: 64,
    };

    /// Linux 6.12.117.
    pub const LINUX_6_12: MmRules = MmRules {
        split_finds_zero_pages: true,
        huge_reuse: HugeReuse::Never,
        share_guess: ShareGuess::FirstPage,
        untouched_read_only_is_not_accounted: true,
        fault_begins_under_mapping_lock: true,
        ..MmRules::LINUX_6_1
    };

    /// Linux 7.3.4.
    pub const LINUX_7_3: MmRules = MmRules {
        splits_for_migration: true,
        huge_reuse: HugeReuse::OneProcess,
        share_guess: ShareGuess::Exact,
        left_mapping_starts_anew: true,
        huge_zero_write_is_huge: true,
        moves_several_mappings: true,
        move_finds_mapping_first: false,
        advice_frees_tables: true,
        joins_untouched_neighbour: true,
        exclusive: ExclusiveRule::ByPage,
        huge_migration: true,
        huge_zero_shows_as_file: false,
        huge_once_by_first_page: true,
        private_fault_locks: true,
        untouched_is_device_writable: false,
        unlocked_range_fault: true,
        test_device_window: 32,
        ..MmRules::LINUX_6_12
    };
}
