//! Allocator sequences on peer-to-peer memory: chunks from registrations, and what was handed out from them.

use super::{Boot, Converted, Writer, fields, number};

impl Boot {
    /// The allocator sequence.
    pub(super) fn pool(&self) -> Option<Converted> {
        let recorded = self.file("alloc.txt")?;
        let mut writer = Writer::default();
        let mut bar_start = 0;
        for line in recorded.lines() {
            let given = fields(line);
            let field = |key: &str| given.get(key).map(|value| number(value)).unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "BEGIN" => {
                    bar_start = self.resource(words[1], given["bar"])?;
                    writer.call(&format!("Pool(granule: {})", 1u64 << field("order")));
                    let start = format!("REG {} bar={} ", words[1], given["bar"]);
                    for chunk in self.oracle.lines().filter(|line| line.starts_with(&start)) {
                        let chunk = fields(chunk);
                        let (offset, size) = (number(chunk["off"]), number(chunk["size"]));
                        writer.call(&format!("AddChunk(base: {:#x}, size: {size:#x})", bar_start + offset));
                    }
                    writer.answered("Avail", &format!("bytes: {}", field("avail")));
                }
                "A" => {
                    let call = format!("Alloc(id: {}, size: {})", field("id"), field("size"));
                    let result = match given.contains_key("off") {
                        true => format!("address: {:#x}", bar_start + field("off")),
                        false => "error: \"ENOMEM\"".to_owned(),
                    };
                    writer.answered(&call, &result);
                }
                "F" => writer.call(&format!("Free(id: {}, size: {})", field("id"), field("size"))),
                "AVAIL" => writer.answered("Avail", &format!("bytes: {}", words[1])),
                "PHASE" => writer.note(words[1]),
                _ => {}
            }
        }
        Some(writer.finish(self, "pool", "An allocator sequence on peer-to-peer memory."))
    }
}
